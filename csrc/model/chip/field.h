// The names users know a chip's numbers by, their units, their legal ranges and where they live.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "model/chip/chip_spec.h"

namespace npu_sim::model {

// Where a number lives in a ChipSpec. A SimTime is set and read in nanoseconds.
using FieldPlace =
    std::variant<double ChipSpec::*, std::int64_t ChipSpec::*, std::int32_t ChipSpec::*,
                 base::SimTime ChipSpec::*, double HostSpec::*, std::int64_t HostSpec::*,
                 double L2Spec::*, double CubeCoreSpec::*, std::int64_t CubeCoreSpec::*,
                 double VectorCoreSpec::*>;

// What a number grows with when a user changes the cores or the clock of a chip.
enum class Scales : std::uint8_t { kNot, kWithCubes, kWithVectors };

struct Field {
  std::string_view name;  // "hibl_bytes_per_s"; the parameter name of overrides and reports
  std::string_view unit;  // "B/s"
  double minimum;         // legal values: minimum <= value <= maximum
  double maximum;
  FieldPlace place;
  Scales scales = Scales::kNot;
};

// Every number of a chip, in the order reports list them.
[[nodiscard]] std::span<const Field> fields();

// The field called `name`, or null.
[[nodiscard]] const Field* find_field(std::string_view name);

[[nodiscard]] double value_of(const ChipSpec& chip, const Field& field);
[[nodiscard]] ChipSpec with_value(ChipSpec chip, const Field& field, double value);

}  // namespace npu_sim::model
