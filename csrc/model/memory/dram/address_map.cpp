#include "model/memory/dram/address_map.h"

#include <bit>
#include <string>

#include "base/error.h"

namespace npu_sim::model {
namespace {

[[noreturn]] void refuse(const DramSpec& spec) {
  throw base::ValueError(
      "dram: expected a mapping of ro, ra, bg, ba and ch once each and co once or twice, most "
      "significant first, such as \"rorabgbachco\", got \"" +
      std::string(spec.mapping) + "\"");
}

}  // namespace

AddressMap::Field AddressMap::field_of(const DramSpec& spec, char first, char second) {
  constexpr std::array<std::string_view, kFields> kNames = {"ro", "ra", "bg", "ba", "ch", "co"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i][0] == first && kNames[i][1] == second) return static_cast<Field>(i);
  }
  refuse(spec);
}

void AddressMap::check(const DramSpec& spec) const {
  std::array<int, kFields> seen{};
  for (std::size_t i = 0; i < count_; ++i) ++seen[parts_[i].field];
  for (std::size_t field = 0; field < kFields; ++field) {
    const bool twice = field == kColumn && seen[field] == 2;
    if (seen[field] != 1 && !twice) refuse(spec);
  }
  if (parts_[count_ - 1].field != kRow) refuse(spec);  // rows have no end, so they come first
}

AddressMap::AddressMap(const DramSpec& spec)
    : burst_bytes_(static_cast<std::uint32_t>(spec.burst_bytes)),
      bank_groups_(spec.bank_groups),
      banks_(spec.banks) {
  const std::string_view text = spec.mapping;
  if (text.size() % 2 != 0 || text.size() / 2 > parts_.size()) refuse(spec);
  const auto columns = static_cast<std::uint32_t>(spec.row_bytes / spec.burst_bytes);
  const auto low = static_cast<std::uint32_t>(spec.interleave_bytes / spec.burst_bytes);
  const bool split = text.find("co") != text.rfind("co");
  bool low_seen = false;
  for (std::size_t end = text.size(); end > 0; end -= 2) {
    Part part{.field = field_of(spec, text[end - 2], text[end - 1])};
    switch (part.field) {
      case kRank: part.size = static_cast<std::uint32_t>(spec.ranks); break;
      case kGroup: part.size = static_cast<std::uint32_t>(spec.bank_groups); break;
      case kBank: part.size = static_cast<std::uint32_t>(spec.banks); break;
      case kChannel: part.size = static_cast<std::uint32_t>(spec.channels); break;
      case kColumn:
        part.size = !split ? columns : low_seen ? columns / low : low;
        low_seen = true;
        break;
      case kRow:
      case kFields: break;
    }
    if (std::has_single_bit(part.size)) part.shift = std::countr_zero(part.size);
    parts_[count_++] = part;
  }
  check(spec);
  if (!spec.hashed_banks) return;
  const auto power_of_two = [](std::int32_t n) {
    return std::has_single_bit(static_cast<std::uint32_t>(n));
  };
  if (!power_of_two(banks_) || !power_of_two(bank_groups_)) {
    throw base::ValueError("dram: expected powers of two as banks and bank groups to hash, got " +
                           std::to_string(banks_) + " and " + std::to_string(bank_groups_) +
                           "; clear hashed_banks");
  }
  hash_ = ~std::uint64_t{0};
}

DramPlace AddressMap::place(std::uint64_t address) const {
  std::array<std::uint64_t, kFields> value{};
  std::uint64_t rest = address / burst_bytes_;
  for (std::size_t i = 0; i + 1 < count_; ++i) {
    const Part& part = parts_[i];
    const std::uint64_t above = part.shift >= 0 ? rest >> part.shift : rest / part.size;
    value[part.field] = rest - above * part.size;
    rest = above;
  }
  // Permutation-based interleaving: the same bank of two rows becomes two banks.
  const std::uint64_t mixed = rest ^ (rest >> 4) ^ (rest >> 8) ^ (rest >> 12);
  value[kBank] ^= mixed & hash_ & (static_cast<std::uint64_t>(banks_) - 1);
  value[kGroup] ^= (mixed / static_cast<std::uint64_t>(banks_)) & hash_ &
                   (static_cast<std::uint64_t>(bank_groups_) - 1);
  DramPlace place;
  place.channel = static_cast<std::int32_t>(value[kChannel]);
  place.bank_group = static_cast<std::int32_t>(value[kRank]) * bank_groups_ +
                     static_cast<std::int32_t>(value[kGroup]);
  place.bank = place.bank_group * banks_ + static_cast<std::int32_t>(value[kBank]);
  place.row = static_cast<std::int64_t>(rest);
  return place;
}

}  // namespace npu_sim::model
