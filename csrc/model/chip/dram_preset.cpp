// Published DRAM timings as presets, and what is assumed of the memories whose own are not.
#include <string>

#include "base/error.h"
#include "model/chip/dram_spec.h"

namespace npu_sim::model {
namespace {

// The fields of the mapping, from the top: a stream goes over all channels, then bank groups, then
// the rest of the open rows.
constexpr std::string_view kStreamFriendly = "rorabacobgchco";

constexpr DramSpec kPresets[] = {
    // tCK 1 ns, a 64-bit pseudo-channel at 2 Gb/s.
    {.name = "hbm2_2000",
     .source =
         "ramulator2.1 HBM2 2000 preset: CL 14, CWL 5, RCD 14/12, RP 14, RAS 34, CCD 2/4, WTR "
         "8, WR 16, RTP 5 cycles, RRD 4 ns, FAW 15 ns; DRAMsim3 HBM2_8Gb_x128: RFC 260, REFI "
         "3900; assumed: RTW 4 ns, queue of 32, drain from 24 to 8",
     .mapping = kStreamFriendly,
     .channels = 16,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 256,
     .queue = 32,
     .drain_high = 24,
     .drain_low = 8,
     .hashed_banks = true,
     .all_bank_refresh = true,
     .timings = {.burst = 2000,
                 .ccd_l = 4000,
                 .rcd_rd = 14000,
                 .rcd_wr = 12000,
                 .rp = 14000,
                 .ras = 34000,
                 .rrd = 4000,
                 .faw = 15000,
                 .cl = 14000,
                 .cwl = 5000,
                 .wtr = 8000,
                 .rtw = 4000,
                 .wr = 16000,
                 .rtp = 5000,
                 .rfc = 260000,
                 .refi = 3900000}},
    // tCK 0.833 ns, a 64-bit pseudo-channel at 2.4 Gb/s.
    {.name = "hbm2_2400",
     .source =
         "ramulator2.1 HBM2 2400 preset: CL 17, CWL 6, RCD 17/14, RP 17, RAS 40, CCD 2/4, WTR "
         "10, WR 19, RTP 6 cycles of 0.833 ns, RRD 4 ns, FAW 15 ns, RFC 260 ns, REFI 3.9 us; "
         "assumed: RTW 4 ns, queue of 32, drain from 24 to 8",
     .mapping = kStreamFriendly,
     .channels = 16,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 256,
     .queue = 32,
     .drain_high = 24,
     .drain_low = 8,
     .hashed_banks = true,
     .all_bank_refresh = true,
     .timings = {.burst = 1666,
                 .ccd_l = 3332,
                 .rcd_rd = 14161,
                 .rcd_wr = 11662,
                 .rp = 14161,
                 .ras = 33320,
                 .rrd = 4000,
                 .faw = 15000,
                 .cl = 14161,
                 .cwl = 4998,
                 .wtr = 8330,
                 .rtw = 4000,
                 .wr = 15827,
                 .rtp = 4998,
                 .rfc = 260000,
                 .refi = 3900000}},
    // tCK 0.625 ns, a 32-bit pseudo-channel at 6.4 Gb/s.
    {.name = "hbm3_6400",
     .source =
         "ramulator2.1 HBM3 6400 preset: CL 20, CWL 10, RCD 31/15, RP 26, RAS 45, CCD 2/4, RRD "
         "5, FAW 24, WTR 10, RTW 20, WR 33, RTP 9 cycles of 0.625 ns, per-bank refresh RFC 320 "
         "cycles, REFI 3.9 us; assumed: queue of 32, drain from 24 to 8",
     .mapping = kStreamFriendly,
     .channels = 32,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 128,
     .queue = 32,
     .drain_high = 24,
     .drain_low = 8,
     .hashed_banks = true,
     .timings = {.burst = 1250,
                 .ccd_l = 2500,
                 .rcd_rd = 19375,
                 .rcd_wr = 9375,
                 .rp = 16250,
                 .ras = 28125,
                 .rrd = 3125,
                 .faw = 15000,
                 .cl = 12500,
                 .cwl = 6250,
                 .wtr = 6250,
                 .rtw = 12500,
                 .wr = 20625,
                 .rtp = 5625,
                 .rfc = 200000,
                 .refi = 3900000}},
    // Five stacks of 16 channels of two pseudo-channels at 5.23 Gb/s: the 3.35 TB/s of an H100.
    {.name = "hbm3_5230",
     .source = "ramulator2.1 HBM3 6400 timings in ns at 5.23 Gb/s; fit: all-bank RFC and drain "
               "marks by the "
               "read and mixed efficiency of the H100 presets, range of RFC 260 to 550 ns",
     .mapping = kStreamFriendly,
     .channels = 160,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 128,
     .queue = 32,
     .drain_high = 30,
     .drain_low = 2,
     .hashed_banks = true,
     .all_bank_refresh = true,
     .timings = {.burst = 1530,
                 .ccd_l = 3060,
                 .rcd_rd = 19375,
                 .rcd_wr = 9375,
                 .rp = 16250,
                 .ras = 28125,
                 .rrd = 3125,
                 .faw = 15000,
                 .cl = 12500,
                 .cwl = 6250,
                 .wtr = 6250,
                 .rtw = 5000,
                 .wr = 20625,
                 .rtp = 5625,
                 .rfc = 370000,
                 .refi = 3900000}},
    // A pseudo-channel of 12.5 GB/s: 1.6 TB/s as four stacks of 16 channels of two; the 1.4 TB/s
    // card has 112 of them.
    {.name = "hibl_1_0",
     .source =
         "assumed: HiBL 1.0 is not published; HBM2 2400 timings in ns at 12.5 GB/s a "
         "pseudo-channel and 128-byte interleave. Fit to hicann/cann-bench@d59d44c: RFC by pure "
         "reads at 96 % of the peak, RTW and the drain marks by equal reads and writes at 90 %",
     .mapping = kStreamFriendly,
     .channels = 128,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 128,
     .queue = 32,
     .drain_high = 30,
     .drain_low = 6,
     .hashed_banks = true,
     .all_bank_refresh = true,
     .timings = {.burst = 2560,
                 .ccd_l = 5120,
                 .rcd_rd = 14161,
                 .rcd_wr = 11662,
                 .rp = 14161,
                 .ras = 33320,
                 .rrd = 4000,
                 .faw = 15000,
                 .cl = 14161,
                 .cwl = 4998,
                 .wtr = 8330,
                 .rtw = 4200,
                 .wr = 15827,
                 .rtp = 4998,
                 .rfc = 80000,
                 .refi = 3900000}},
    // Four stacks of eight channels of two pseudo-channels, 25 GB/s each: 1.6 TB/s.
    {.name = "hbm2e_910",
     .source =
         "assumed: the 910B's stacks are not published; HBM2 2400 timings in ns at 3.125 Gb/s "
         "(25 GB/s a pseudo-channel) and its 512-byte lines in one channel. Fit to "
         "hicann/cann-bench@d59d44c: RFC by pure reads, RTW and drain marks by mixed traffic",
     .mapping = kStreamFriendly,
     .channels = 64,
     .bank_groups = 4,
     .banks = 4,
     .row_bytes = 1024,
     .burst_bytes = 32,
     .interleave_bytes = 512,
     .queue = 32,
     .drain_high = 20,
     .drain_low = 10,
     .hashed_banks = true,
     .all_bank_refresh = true,
     .timings = {.burst = 1280,
                 .ccd_l = 2560,
                 .rcd_rd = 14161,
                 .rcd_wr = 11662,
                 .rp = 14161,
                 .ras = 33320,
                 .rrd = 4000,
                 .faw = 15000,
                 .cl = 14161,
                 .cwl = 4998,
                 .wtr = 8330,
                 .rtw = 8000,
                 .wr = 15827,
                 .rtp = 4998,
                 .rfc = 440000,
                 .refi = 3900000}},
};

}  // namespace

std::span<const DramSpec> dram_presets() { return kPresets; }

const DramSpec& dram_preset(std::string_view name) {
  std::string names;
  for (const DramSpec& spec : kPresets) {
    if (spec.name == name) return spec;
    names += (names.empty() ? "" : ", ") + std::string(spec.name);
  }
  throw base::ValueError("dram: expected the name of a preset, got \"" + std::string(name) +
                         "\"; choose one of " + names);
}

}  // namespace npu_sim::model
