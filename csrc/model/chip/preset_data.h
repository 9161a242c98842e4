// A preset as it is written down: a table of numbers, each beside its source.
#pragma once

#include <span>
#include <string_view>

namespace npu_sim::model {

struct SourcedNumber {
  std::string_view field;   // name of a Field
  double value;             // in the field's unit
  std::string_view source;  // citation, "measured: ...", or "assumed: reason, range"
};

struct PresetData {
  std::string_view name;
  std::string_view soc_name;
  std::string_view summary;
  std::span<const std::string_view> aliases;
  std::span<const SourcedNumber> numbers;
  std::string_view dram;
  std::span<const SourcedNumber> (*cube)() = nullptr;    // more numbers: those of the cube core
  std::span<const SourcedNumber> (*vector)() = nullptr;  // and those of the vector core
  const PresetData* base = nullptr;  // chip whose numbers hold where `numbers` is silent
};

// One list a chip family, in the order users see them.
[[nodiscard]] std::span<const PresetData> ascend950_presets();
[[nodiscard]] std::span<const PresetData> ascend910_presets();
[[nodiscard]] std::span<const PresetData> nvidia_presets();

// Numbers of the cube cores, a table a generation.
[[nodiscard]] std::span<const SourcedNumber> cube_core_950();
[[nodiscard]] std::span<const SourcedNumber> cube_core_910b();
[[nodiscard]] std::span<const SourcedNumber> cube_core_h100();
[[nodiscard]] std::span<const SourcedNumber> cube_core_a100();
// Numbers of the vector cores, a table a generation.
[[nodiscard]] std::span<const SourcedNumber> vector_core_950();
[[nodiscard]] std::span<const SourcedNumber> vector_core_910b();
[[nodiscard]] std::span<const SourcedNumber> vector_core_nvidia();

}  // namespace npu_sim::model
