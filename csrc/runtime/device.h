// The device table: how many simulated cards, which is current, which chip they are.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "model/chip/chip_spec.h"

namespace npu_sim::runtime {

// Cards in this process: NPU_SIM_DEVICES, default 8, at most 64; read once.
[[nodiscard]] int device_count();

// The calling thread's current device.
[[nodiscard]] int current_device();
// Throws base::ValueError when `device` is not in [0, device_count()).
void set_current_device(int device);
int exchange_device(int device);

// The chip every card is; NPU_SIM_CHIP or the default preset until set.
[[nodiscard]] const model::ChipSpec& chip();
// Replaces the chip. Throws base::Error while any device memory is allocated.
// Clears clocks, caches and statistics of every device.
void set_chip(model::ChipSpec chip);

// How closely the chip is modelled: NPU_SIM_FIDELITY or the tile level until set. Kernels launched
// from now on are timed so; memory, clocks and statistics stay.
[[nodiscard]] model::Fidelity fidelity();
void set_fidelity(model::Fidelity fidelity);

// The host waits for every stream of the device.
void synchronize_device(int device);

// One host clock a process: the interpreter lock serialises dispatch, so threads take turns on one
// host. A clock a thread would let work pass from thread to thread without its time.
[[nodiscard]] base::SimTime host_now();
void advance_host(base::SimTime cost);

// Marks the runtime used (first device call); a child forked after that is in a bad fork, where
// every call but device_count() must be refused by the caller.
void mark_used();
[[nodiscard]] bool used();
[[nodiscard]] bool in_bad_fork();

}  // namespace npu_sim::runtime
