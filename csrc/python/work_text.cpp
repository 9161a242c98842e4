#include "python/work_text.h"

#include <fmt/format.h>

#include <string_view>
#include <variant>

namespace npu_sim::python {
namespace {

using base::name;
using namespace model;  // NOLINT: one overload for each kind of Work, of which there are a dozen

std::string_view route_name(CopyRoute route) {
  switch (route) {
    case CopyRoute::kWithinDevice: return "within the device";
    case CopyRoute::kHostToDevice: return "host to device";
    case CopyRoute::kDeviceToHost: return "device to host";
    case CopyRoute::kPeer: return "to a peer";
  }
  return "";
}

std::string_view pass_name(ConvolutionPass pass) {
  switch (pass) {
    case ConvolutionPass::kForward: return "forward";
    case ConvolutionPass::kInputGrad: return "input gradient";
    case ConvolutionPass::kWeightGrad: return "weight gradient";
  }
  return "";
}

struct Writer {
  std::string operator()(const NoWork&) const { return "no kernel"; }

  std::string operator()(const VectorWork& work) const {
    return fmt::format("{} elements {}", work.elements, name(work.compute));
  }

  std::string operator()(const MatmulWork& work) const {
    const std::string batch = work.batch == 1 ? "" : fmt::format("{} x ", work.batch);
    const std::string formats = work.a == work.b
                                    ? std::string(name(work.a))
                                    : fmt::format("{} x {}", name(work.a), name(work.b));
    return fmt::format("{}[{}, {}] @ [{}, {}] {}", batch, work.m, work.k, work.k, work.n, formats);
  }

  std::string operator()(const GroupedMatmulWork& work) const {
    return fmt::format("{} groups, {} rows: [rows, {}] @ [{}, {}] {}", work.groups, work.rows,
                       work.k, work.k, work.n, name(work.a));
  }

  std::string operator()(const RowWork& work) const {
    return fmt::format("{} rows of {} {}", work.rows, work.columns, name(work.compute));
  }

  std::string operator()(const CopyWork& work) const {
    return fmt::format("{} bytes {}, runs of {}", work.written.count(), route_name(work.route),
                       work.run.count());
  }

  std::string operator()(const GatherWork& work) const {
    return fmt::format("{} {} of {} bytes", work.scatter ? "scatter" : "gather", work.items,
                       work.item.count());
  }

  std::string operator()(const SortWork& work) const {
    return fmt::format("{} rows of {}, {} kept, {}", work.rows, work.columns, work.k,
                       name(work.format));
  }

  std::string operator()(const AttentionWork& work) const {
    return fmt::format("batch {}, {}/{} heads, {} x {}, {}/{} wide, {}{}{}", work.batch,
                       work.q_heads, work.kv_heads, work.q_len, work.kv_len, work.qk_dim,
                       work.v_dim, name(work.format), work.causal ? ", causal" : "",
                       work.backward ? ", backward" : "");
  }

  std::string operator()(const ConvolutionWork& work) const {
    return fmt::format("{}: batch {}, {} -> {} channels, {} -> {} positions, kernel {}, {}",
                       pass_name(work.pass), work.batch, work.in_channels, work.out_channels,
                       work.in_positions, work.out_positions, work.kernel_positions,
                       name(work.format));
  }

  std::string operator()(const HostWork& work) const {
    return fmt::format("on the host: {} bytes down, {} bytes up", work.to_host.count(),
                       work.to_device.count());
  }

  std::string operator()(const UndescribedWork& work) const {
    return fmt::format("{} bytes read, {} written", work.read.count(), work.written.count());
  }
};

}  // namespace

std::string text(const Work& work) { return std::visit(Writer{}, work); }

}  // namespace npu_sim::python
