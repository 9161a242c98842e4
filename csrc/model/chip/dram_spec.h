// Device memory below the level of bandwidth: channels, banks, timings, address mapping.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace npu_sim::model {

// Times in picoseconds. Names as in the JEDEC standards; S and L: another or the same bank group.
struct DramTimings {
  std::int64_t burst = 0;   // data of one column access on the bus (BL x bit time)
  std::int64_t ccd_l = 0;   // column to column in one bank group; in another it is `burst`
  std::int64_t rcd_rd = 0;  // activate to read
  std::int64_t rcd_wr = 0;  // activate to write
  std::int64_t rp = 0;      // precharge to activate
  std::int64_t ras = 0;     // activate to precharge
  std::int64_t rrd = 0;     // activate to activate of another bank
  std::int64_t faw = 0;     // any four activates
  std::int64_t cl = 0;      // read to first data
  std::int64_t cwl = 0;     // write to first data
  std::int64_t wtr = 0;     // end of write data to read
  std::int64_t rtw = 0;     // read to write, on top of the bus being free
  std::int64_t wr = 0;      // end of write data to precharge
  std::int64_t rtp = 0;     // read to precharge
  std::int64_t rfc = 0;     // a refresh blocks its bank (all banks where all_bank_refresh)
  std::int64_t refi = 0;    // between refreshes of one bank
};

struct DramSpec {
  std::string_view name;
  std::string_view source;
  // Fields of an address above the burst, most significant first, two letters each: ro row, ra
  // rank, bg bank group, ba bank, ch channel, co column. Sizes need not be powers of two.
  std::string_view mapping;
  std::int32_t channels = 0;  // independent ones: pseudo-channels where the standard has them
  std::int32_t ranks = 1;
  std::int32_t bank_groups = 0;
  std::int32_t banks = 0;  // a bank group
  std::int32_t row_bytes = 0;
  std::int32_t burst_bytes = 0;
  std::int32_t interleave_bytes = 0;  // consecutive bytes of one channel; whole bursts
  std::int32_t queue = 0;             // requests a channel chooses among, reads and writes each
  std::int32_t drain_high = 0;        // waiting writes at which a channel turns to writing
  std::int32_t drain_low = 0;         // and at which it turns back
  bool hashed_banks = false;  // bank and group are XORed with the row, so that strides spread
  bool all_bank_refresh = false;
  DramTimings timings;

  [[nodiscard]] double peak_bytes_per_s() const {
    constexpr double kPsPerSecond = 1e12;
    return static_cast<double>(channels) * burst_bytes / static_cast<double>(timings.burst) *
           kPsPerSecond;
  }
};

// Every preset, and the one called `name`; throws base::ValueError that lists the names.
[[nodiscard]] std::span<const DramSpec> dram_presets();
[[nodiscard]] const DramSpec& dram_preset(std::string_view name);

}  // namespace npu_sim::model
