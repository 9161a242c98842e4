// Works as plain dicts, their cost on a chip, and launching one by hand.
#include "python/work.h"

#include <pybind11/stl.h>

#include <array>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "model/cost/cost.h"
#include "model/work/name.h"
#include "python/bindings.h"
#include "python/work_fields.h"
#include "runtime/launch.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;
using base::Format;

constexpr auto kLastFormat = static_cast<std::size_t>(Format::kComplex128);
constexpr std::array<std::string_view, 4> kRoutes = {"within", "h2d", "d2h", "peer"};
constexpr std::array<std::string_view, 3> kTargets = {"memory", "ub", "l1"};
constexpr std::array<std::string_view, 3> kPasses = {"forward", "input_grad", "weight_grad"};

template <std::size_t size>
std::size_t position(std::string_view name, const std::array<std::string_view, size>& names) {
  for (std::size_t i = 0; i < size; ++i) {
    if (names[i] == name) return i;
  }
  std::string known;
  for (const std::string_view each : names) known += std::string(known.empty() ? "" : ", ") += each;
  throw base::ValueError("work: expected one of " + known + "; got " + std::string(name));
}

Format format_named(std::string_view name) {
  for (std::size_t i = 0; i <= kLastFormat; ++i) {
    if (base::name(static_cast<Format>(i)) == name) return static_cast<Format>(i);
  }
  throw base::ValueError("work: expected the name of a format such as bf16, got " +
                         std::string(name));
}

template <class Field>
Field value_of(const py::handle& value) {
  if constexpr (std::is_same_v<Field, base::Bytes>) {
    return base::Bytes(value.cast<std::int64_t>());
  } else if constexpr (std::is_same_v<Field, Format>) {
    return format_named(value.cast<std::string>());
  } else if constexpr (std::is_same_v<Field, model::CopyRoute>) {
    return static_cast<Field>(position(value.cast<std::string>(), kRoutes));
  } else if constexpr (std::is_same_v<Field, model::CopyTarget>) {
    return static_cast<Field>(position(value.cast<std::string>(), kTargets));
  } else if constexpr (std::is_same_v<Field, model::ConvolutionPass>) {
    return static_cast<Field>(position(value.cast<std::string>(), kPasses));
  } else if constexpr (std::is_same_v<Field, model::GroupSizes>) {
    return model::GroupSizes(value.cast<std::vector<std::int64_t>>());
  } else {
    return value.cast<Field>();
  }
}

template <class Field>
py::object python_of(const Field& value) {
  if constexpr (std::is_same_v<Field, base::Bytes>) {
    return py::int_(value.count());
  } else if constexpr (std::is_same_v<Field, Format>) {
    return py::str(std::string(base::name(value)));
  } else if constexpr (std::is_same_v<Field, model::CopyRoute>) {
    return py::str(std::string(kRoutes[static_cast<std::size_t>(value)]));
  } else if constexpr (std::is_same_v<Field, model::CopyTarget>) {
    return py::str(std::string(kTargets[static_cast<std::size_t>(value)]));
  } else if constexpr (std::is_same_v<Field, model::ConvolutionPass>) {
    return py::str(std::string(kPasses[static_cast<std::size_t>(value)]));
  } else if constexpr (std::is_same_v<Field, model::GroupSizes>) {
    py::list rows;
    for (const model::Alike& alike : value.alike()) {
      for (std::int64_t i = 0; i < alike.groups; ++i) rows.append(alike.rows);
    }
    return rows;
  } else {
    return py::cast(value);
  }
}

template <class Kind>
void fill(Kind& work, const py::dict& fields) {
  std::size_t taken = 1;  // "kind"
  visit_fields(work, [&](const char* name, auto& field) {
    if (!fields.contains(name)) return;
    try {
      field = value_of<std::remove_reference_t<decltype(field)>>(fields[name]);
    } catch (const py::cast_error&) {
      throw base::ValueError("work: expected a value of another type for " + std::string(name) +
                             ", got " + std::string(py::str(fields[name])));
    }
    ++taken;
  });
  if (taken == fields.size()) return;
  std::string known;
  visit_fields(
      work, [&](const char* name, auto&) { known += (known.empty() ? "" : ", "), known += name; });
  throw base::ValueError("work: expected fields among " + known + "; got " +
                         std::string(py::str(fields)));
}

// The kind named, with its defaults. "copy" stands for every route.
template <std::size_t index = 0>
model::Work make(std::string_view kind) {
  if constexpr (index == std::variant_size_v<model::Work>) {
    throw base::ValueError("work: expected a kind of kernel such as matmul, got " +
                           std::string(kind));
  } else {
    model::Work work(std::in_place_index<index>);
    return model::name(work) == kind ? work : make<index + 1>(kind);
  }
}

// (address, bytes) of operands.
using Places = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::vector<model::AddressRange> ranges(const Places& places) {
  std::vector<model::AddressRange> out;
  for (const auto& [address, bytes] : places) out.push_back({address, address + bytes});
  return out;
}

py::dict busy_pipes(const model::KernelTime& time) {
  py::dict out;
  for (std::size_t i = 0; i < model::kPipeCount; ++i) {
    if (time.busy[i].count() == 0) continue;
    out[py::str(std::string(model::name(static_cast<model::Pipe>(i))))] = time.busy[i].count();
  }
  return out;
}

}  // namespace

model::Work to_work(const py::dict& fields) {
  if (!fields.contains("kind")) {
    throw base::ValueError("work: expected the key kind, got " + std::string(py::str(fields)));
  }
  model::Work work = make(fields["kind"].cast<std::string>());
  std::visit([&](auto& kind) { fill(kind, fields); }, work);
  return work;
}

py::dict to_dict(model::Work work) {
  py::dict out;
  const bool copies = std::holds_alternative<model::CopyWork>(work);
  out["kind"] = copies ? "copy" : model::name(work);
  std::visit(
      [&](auto& kind) {
        visit_fields(kind, [&](const char* name, auto& field) { out[name] = python_of(field); });
      },
      work);
  return out;
}

py::dict to_dict(const model::KernelTime& time) {
  py::dict out;
  out["alone_ps"] = time.duration.count();
  out["bound"] = model::name(time.bound);
  out["pipes_ps"] = busy_pipes(time);
  out["bytes_read"] = time.bytes_read.count();
  out["bytes_written"] = time.bytes_written.count();
  out["bytes_hit"] = time.bytes_hit.count();
  out["bytes_l2"] = time.bytes_l2.count();
  out["bytes_hibl_read"] = time.bytes_hibl_read.count();
  out["bytes_hibl_written"] = time.bytes_hibl_written.count();
  out["flops"] = time.flops.count();
  out["energy_pj"] = time.energy.count();
  out["provenance"] = model::name(time.provenance);
  return out;
}

void bind_work(py::module_& module) {
  const auto work = py::arg("work");
  module.def(
      "work_text", [](const py::dict& fields) { return model::to_text(to_work(fields)); }, work);
  module.def(
      "complete_work", [](const py::dict& fields) { return to_dict(to_work(fields)); }, work);
  module.def(
      "cost",
      [](const py::dict& fields, const std::string& base,
         const std::map<std::string, double>& overrides) {
        const model::ChipSpec chip = model::with_overrides(model::preset(base), overrides);
        return to_dict(model::cost(to_work(fields), chip));
      },
      work, py::arg("base"), py::arg("overrides"));
  module.def(
      "launch_work",
      [](const std::string& op, const py::dict& fields, int device, const Places& reads,
         const Places& writes) {
        const model::Work kernel = to_work(fields);
        const runtime::LaunchSite site{runtime::intern(op), runtime::current_stream(device)};
        const auto read = ranges(reads);
        const auto written = ranges(writes);
        const py::gil_scoped_release release;
        runtime::record(site, kernel, {.read = read, .written = written});
      },
      py::arg("op"), work, py::arg("device"), py::arg("reads") = Places(),
      py::arg("writes") = Places());
}

}  // namespace npu_sim::python
