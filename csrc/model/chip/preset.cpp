// Presets by name, a user's overrides of them, and the report of every number with its source.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "model/chip/chip_spec.h"
#include "model/chip/field.h"
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

std::array<std::span<const PresetData>, 3> families() {
  return {ascend950_presets(), ascend910_presets(), nvidia_presets()};
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool answers_to(const PresetData& data, std::string_view name) {
  if (same_name(data.name, name) || same_name(data.soc_name, name)) return true;
  return std::ranges::any_of(data.aliases, [name](auto alias) { return same_name(alias, name); });
}

const PresetData* find_preset(std::string_view name) {
  for (const auto family : families()) {
    for (const PresetData& data : family) {
      if (answers_to(data, name)) return &data;
    }
  }
  return nullptr;
}

// The number `field` of `data` or of the chip it builds on; null if neither states it.
const SourcedNumber* find_number(const PresetData& data, std::string_view field) {
  for (const SourcedNumber& number : data.numbers) {
    if (number.field == field) return &number;
  }
  for (const auto table : {data.cube, data.vector}) {
    if (table == nullptr) continue;
    for (const SourcedNumber& number : table()) {
      if (number.field == field) return &number;
    }
  }
  return data.base != nullptr ? find_number(*data.base, field) : nullptr;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string shown(double value) {
  std::ostringstream out;
  out.precision(std::numeric_limits<float>::max_digits10);
  out << value;
  return out.str();
}

const Field& checked_field(std::string_view name, double value) {
  const Field* field = find_field(name);
  if (field == nullptr) {
    throw base::ValueError("chip: expected the name of a chip parameter, got \"" +
                           std::string(name) +
                           "\"; `npu-sim info` lists every parameter of a chip");
  }
  if (!(value >= field->minimum && value <= field->maximum)) {
    throw base::ValueError("chip: expected " + std::string(name) + " between " +
                           shown(field->minimum) + " and " + shown(field->maximum) + " " +
                           std::string(field->unit) + ", got " + shown(value) +
                           "; see `npu-sim info` for the values of the presets");
  }
  return *field;
}

// What `field` grows by when a chip has the cores and the clock of `chip` instead of `base`'s.
double scale_of(const Field& field, const ChipSpec& base, const ChipSpec& chip) {
  const double clocks = chip.clock_hz / base.clock_hz;
  switch (field.scales) {
    case Scales::kWithCubes: return clocks * chip.cube_cores / base.cube_cores;
    case Scales::kWithVectors: return clocks * chip.vector_cores / base.vector_cores;
    case Scales::kNot: return 1;
  }
  return 1;
}

// Where the number `field` of `chip` comes from; `base` is the preset that the chip started from.
std::string source_of(const Field& field, const ChipSpec& chip, const ChipSpec& base,
                      const PresetData& data) {
  const SourcedNumber* number = find_number(data, field.name);
  const double value = value_of(chip, field);
  if (number == nullptr) return "set by the user";
  if (value == value_of(base, field)) return std::string(number->source);
  if (value != value_of(base, field) * scale_of(field, base, chip)) return "set by the user";
  return "scaled with the user's cores and clock from: " + std::string(number->source);
}

void check_consistency(const ChipSpec& chip) {
  if (chip.idle_watts > chip.tdp_watts) {
    throw base::ValueError("chip: expected idle_watts at most tdp_watts (" + shown(chip.tdp_watts) +
                           "), got " + shown(chip.idle_watts) +
                           "; lower idle_watts or raise tdp_watts");
  }
  if (chip.hibl_mixed_efficiency > chip.hibl_read_efficiency) {
    throw base::ValueError("chip: expected hibl_mixed_efficiency at most hibl_read_efficiency (" +
                           shown(chip.hibl_read_efficiency) + "), got " +
                           shown(chip.hibl_mixed_efficiency) + "; override both");
  }
}

}  // namespace

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto family : families()) {
      for (const PresetData& data : family) all.emplace_back(data.name);
    }
    return all;
  }();
  return names;
}

ChipSpec preset(std::string_view name) {
  const PresetData* data = find_preset(name);
  if (data == nullptr) {
    throw base::ValueError("chip: expected the name of a preset, got \"" + std::string(name) +
                           "\"; choose one of " + joined(preset_names()));
  }
  ChipSpec chip;
  chip.name = data->name;
  chip.based_on = data->name;
  chip.soc_name = data->soc_name;
  chip.summary = data->summary;
  chip.dram = data->dram;
  for (const Field& field : fields()) {
    const SourcedNumber* number = find_number(*data, field.name);
    if (number == nullptr) {
      throw base::Error("chip: expected preset " + chip.name + " to state " +
                        std::string(field.name) + ", got nothing; add it to the preset's table");
    }
    chip = with_value(std::move(chip), field, number->value);
  }
  return chip;
}

ChipSpec with_overrides(ChipSpec base, const std::map<std::string, double>& overrides) {
  const ChipSpec before = base;
  for (const auto& [name, value] : overrides) {
    base = with_value(std::move(base), checked_field(name, value), value);
  }
  for (const Field& field : fields()) {
    const double scale = scale_of(field, before, base);
    if (scale == 1 || overrides.contains(std::string(field.name))) continue;
    base = with_value(std::move(base), field, value_of(before, field) * scale);
  }
  check_consistency(base);
  return base;
}

std::vector<Parameter> parameters(const ChipSpec& chip) {
  const PresetData* data = find_preset(chip.based_on);
  const ChipSpec base = data != nullptr ? preset(chip.based_on) : chip;
  std::vector<Parameter> all;
  all.reserve(fields().size());
  for (const Field& field : fields()) {
    all.push_back({.name = std::string(field.name),
                   .value = value_of(chip, field),
                   .unit = std::string(field.unit),
                   .source = data != nullptr ? source_of(field, chip, base, *data)
                                             : std::string("set by the user")});
  }
  return all;
}

}  // namespace npu_sim::model
