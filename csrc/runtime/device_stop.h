// Stopping a card, as a training framework does before it recovers from a fault elsewhere.
#pragma once

namespace npu_sim::runtime {

// From now on launches on the device are refused. What was launched before has its values, and ends
// at its time.
void stop_device(int device);
void restart_device(int device);
[[nodiscard]] bool device_stopped(int device);

// Throws base::Error when the device is stopped.
void check_running(int device);

}  // namespace npu_sim::runtime
