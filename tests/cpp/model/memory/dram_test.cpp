// Laws of the DRAM simulator, and its agreement with the bandwidths it was fitted to.
#include "model/memory/dram/dram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "model/cost/cost.h"
#include "model/memory/dram/address_map.h"
#include "model/memory/dram/replay.h"

namespace npu_sim::model {
namespace {

std::vector<DramRequest> stream(std::int64_t count, std::uint32_t bytes, bool write = false) {
  std::vector<DramRequest> requests;
  for (std::int64_t i = 0; i < count; ++i) {
    requests.push_back({static_cast<std::uint64_t>(i) * bytes, bytes, write, 0});
  }
  return requests;
}

std::vector<DramRequest> scattered(std::int64_t count, std::uint32_t bytes) {
  std::mt19937_64 random(11);
  std::vector<DramRequest> requests;
  for (std::int64_t i = 0; i < count; ++i) {
    requests.push_back({random() % (1 << 24) * bytes, bytes, false, 0});
  }
  return requests;
}

double efficiency(const DramSpec& spec, const std::vector<DramRequest>& requests) {
  return simulate_dram(spec, requests).bytes_per_s() / spec.peak_bytes_per_s();
}

TEST(AddressMap, EveryBurstHasAPlaceOfItsOwn) {
  for (const DramSpec& preset : dram_presets()) {
    DramSpec spec = preset;
    spec.channels = 7;  // not a power of two
    const AddressMap map(spec);
    const std::int64_t bytes =
        std::int64_t{spec.channels} * spec.bank_groups * spec.banks * spec.row_bytes * 3;
    std::map<std::tuple<int, int, std::int64_t>, int> bursts;
    for (std::int64_t at = 0; at < bytes; at += spec.burst_bytes) {
      const DramPlace place = map.place(static_cast<std::uint64_t>(at));
      ASSERT_LT(place.channel, spec.channels);
      ASSERT_LT(place.bank, spec.bank_groups * spec.banks);
      ++bursts[{place.channel, place.bank, place.row}];
    }
    EXPECT_EQ(bursts.size(), static_cast<std::size_t>(bytes / spec.row_bytes)) << spec.name;
    for (const auto& [row, count] : bursts) {
      ASSERT_EQ(count, spec.row_bytes / spec.burst_bytes) << spec.name;
    }
  }
}

TEST(AddressMap, TheStringDecidesWhereNeighboursGo) {
  DramSpec spec = dram_preset("hbm2_2000");
  spec.hashed_banks = false;
  spec.mapping = "rorabgbachco";
  EXPECT_EQ(AddressMap(spec).place(1023).channel, 0);
  EXPECT_EQ(AddressMap(spec).place(1024).channel, 1);
  spec.mapping = "rorachbgbaco";
  EXPECT_EQ(AddressMap(spec).place(1024).channel, 0);
  EXPECT_EQ(AddressMap(spec).place(1024).bank, 1);
}

TEST(AddressMap, AWrongStringIsAnErrorThatShowsARightOne) {
  for (const char* mapping :
       {"", "ro", "rorabgbach", "rocorabgbachcoco", "xxrabgbachco", "rorabgbachc"}) {
    DramSpec spec = dram_preset("hbm2_2000");
    spec.mapping = mapping;
    try {
      static_cast<void>(AddressMap(spec));
      FAIL() << mapping;
    } catch (const base::ValueError& error) {
      EXPECT_NE(std::string(error.what()).find("rorabgbachco"), std::string::npos);
    }
  }
}

TEST(Dram, NeverBeatsItsPeak) {
  for (const DramSpec& spec : dram_presets()) {
    EXPECT_LE(efficiency(spec, stream(20'000, 512)), 1) << spec.name;
    EXPECT_LE(efficiency(spec, scattered(20'000, 128)), 1) << spec.name;
    EXPECT_LE(efficiency(spec, stream(20'000, 512, true)), 1) << spec.name;
  }
}

TEST(Dram, OneReadTakesActivateColumnAndBurst) {
  DramSpec spec = dram_preset("hibl_1_0");
  const DramTimings& t = spec.timings;
  const auto request = stream(1, 32);
  EXPECT_EQ(simulate_dram(spec, request).end_ps, t.rcd_rd + t.cl + t.burst);
}

TEST(Dram, ASecondRowOfABankWaitsForItsCycle) {
  DramSpec spec = dram_preset("hibl_1_0");
  spec.hashed_banks = false;
  spec.channels = 1;
  const DramTimings& t = spec.timings;
  const std::uint64_t next_row = 16 * 1024;
  const std::vector<DramRequest> requests = {{0, 32, false, 0}, {next_row, 32, false, 0}};
  const DramResult result = simulate_dram(spec, requests);
  EXPECT_EQ(result.activates, 2);
  EXPECT_EQ(result.end_ps, t.ras + t.rp + t.rcd_rd + t.cl + t.burst);
}

TEST(Dram, TheSameRowTwiceIsARowHit) {
  DramSpec spec = dram_preset("hibl_1_0");
  const std::vector<DramRequest> requests = {{0, 32, false, 0}, {32, 32, false, 0}};
  const DramResult result = simulate_dram(spec, requests);
  EXPECT_EQ(result.row_hits, 1);
  EXPECT_EQ(result.end_ps,
            spec.timings.rcd_rd + spec.timings.cl + spec.timings.ccd_l + spec.timings.burst);
}

TEST(Dram, ReadingAfterWritingWaitsForTheBusToTurn) {
  DramSpec spec = dram_preset("hibl_1_0");
  spec.channels = 1;
  const DramTimings& t = spec.timings;
  const std::vector<DramRequest> requests = {{0, 32, true, 0}, {32, 32, false, 1'000'000}};
  const DramResult result = simulate_dram(spec, requests);
  EXPECT_EQ(result.turns, 2);
  EXPECT_EQ(result.end_ps, 1'000'000 + t.cl + t.burst);
  const std::vector<DramRequest> at_once = {{0, 32, true, 0}, {32, 32, false, 20'000}};
  EXPECT_GE(simulate_dram(spec, at_once).end_ps,
            t.rcd_wr + t.cwl + t.burst + t.wtr + t.cl + t.burst);
}

TEST(Dram, MoreRequestsNeverEndSooner) {
  const DramSpec& spec = dram_preset("hibl_1_0");
  const auto all = scattered(4000, 128);
  std::int64_t before = 0;
  for (std::size_t count : {1, 10, 100, 1000, 4000}) {
    const std::vector<DramRequest> some(all.begin(),
                                        all.begin() + static_cast<std::ptrdiff_t>(count));
    const DramResult result = simulate_dram(spec, some);
    EXPECT_GE(result.end_ps, before);
    EXPECT_EQ(result.bytes, static_cast<std::int64_t>(count) * 128);
    before = result.end_ps;
  }
}

TEST(Dram, RefreshTakesItsShareOfTheTime) {
  DramSpec spec = dram_preset("hibl_1_0");
  const auto requests = stream(200'000, 128);
  const double with = efficiency(spec, requests);
  spec.timings.rfc *= 2;
  EXPECT_LT(efficiency(spec, requests), with - 0.02);
}

TEST(Dram, OneBankGroupRunsAtHalfTheRate) {
  DramSpec spec = dram_preset("hibl_1_0");
  spec.hashed_banks = false;
  spec.mapping = "rorabgbachco";  // a row, then the next channel: one group for long
  spec.channels = 1;
  std::vector<DramRequest> requests;
  for (std::uint64_t i = 0; i < 8; ++i) requests.push_back({i * 128, 128, false, 0});
  const DramTimings& t = spec.timings;
  EXPECT_EQ(simulate_dram(spec, requests).end_ps, t.rcd_rd + t.cl + 31 * t.ccd_l + t.burst);
}

TEST(Dram, TheSameRequestsGiveTheSamePicoseconds) {
  const auto requests = scattered(20'000, 128);
  const DramSpec& spec = dram_preset("hbm3_6400");
  EXPECT_EQ(simulate_dram(spec, requests).end_ps, simulate_dram(spec, requests).end_ps);
}

// HiBL's fit: pure reads 96 % of the peak, equal reads and writes 90 % (rounded from 89.6).
TEST(DramReplay, HiblSustainsWhatWasMeasured) {
  const ChipSpec chip = preset("ascend950pr");
  const double peak_seconds = 1e9 / chip.hibl_bytes_per_s;
  EXPECT_NEAR(peak_seconds / dram_seconds({.read_bytes = 1e9}, chip), 0.96, 0.02);
  EXPECT_NEAR(peak_seconds / dram_seconds({.read_bytes = 5e8, .written_bytes = 5e8}, chip), 0.90,
              0.02);
}

TEST(DramReplay, AgreesWithTheTileLevelOnStreamsWithin5Percent) {
  for (const char* name :
       {"ascend950pr", "ascend950pr_128g", "ascend950dt", "ascend910b2", "h100"}) {
    const ChipSpec chip = preset(name);
    for (const auto& [read, written] : {std::pair{1e9, 0.0}, {2e9, 1e9}, {1e9, 1e9}, {0.0, 1e9}}) {
      const double tile = hibl_seconds(read, written, chip);
      const double dram = dram_seconds({.read_bytes = read, .written_bytes = written}, chip);
      EXPECT_NEAR(dram / tile, 1, 0.05) << name << " " << read << " " << written;
    }
  }
}

TEST(DramReplay, AStreamingKernelTakesTheTileLevelsTimeWithin5Percent) {
  ChipSpec chip = preset("ascend950pr");
  const VectorWork work{.elements = 1 << 26, .read = Bytes(1 << 28), .written = Bytes(1 << 28)};
  const double tile = static_cast<double>(cost(work, chip).duration.count());
  chip.fidelity = Fidelity::kDram;
  EXPECT_NEAR(static_cast<double>(cost(work, chip).duration.count()) / tile, 1, 0.05);
}

// The claim of 128-byte transactions: on pieces below 512 bytes the 950 wastes less.
TEST(DramReplay, SmallPiecesMoveWholeTransactions) {
  for (const auto& [name, transaction] :
       {std::pair{"ascend950pr", 128.0}, {"ascend910b2", 512.0}}) {
    const ChipSpec chip = preset(name);
    for (const double piece : {32.0, 128.0, 256.0, 512.0}) {
      const double moved = std::ceil(piece / transaction) * transaction;
      const double seconds =
          dram_seconds({.read_bytes = 1e9 * moved / piece, .piece_bytes = piece}, chip);
      const double useful = 1e9 / seconds / chip.hibl_bytes_per_s;
      EXPECT_LE(useful, piece / moved) << name << " " << piece;
      EXPECT_GE(useful, 0.8 * piece / moved) << name << " " << piece;
    }
  }
}

TEST(Fidelity, NamesLeadBackToThemselves) {
  for (const Fidelity fidelity : {Fidelity::kRoofline, Fidelity::kTile, Fidelity::kDram}) {
    EXPECT_EQ(fidelity_named(name(fidelity)), fidelity);
  }
  EXPECT_THROW(static_cast<void>(fidelity_named("cycle")), base::ValueError);
}

}  // namespace
}  // namespace npu_sim::model
