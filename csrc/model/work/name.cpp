#include "model/work/name.h"

#include <array>
#include <string>

namespace npu_sim::model {
namespace {

struct KindName {
  std::string_view operator()(const NoWork&) const { return "none"; }
  std::string_view operator()(const VectorWork&) const { return "vector"; }
  std::string_view operator()(const MatmulWork&) const { return "matmul"; }
  std::string_view operator()(const RowWork&) const { return "row"; }
  std::string_view operator()(const GatherWork&) const { return "gather"; }
  std::string_view operator()(const SortWork&) const { return "sort"; }
  std::string_view operator()(const AttentionWork&) const { return "attention"; }
  std::string_view operator()(const GroupedMatmulWork&) const { return "grouped_matmul"; }
  std::string_view operator()(const ConvolutionWork&) const { return "convolution"; }
  std::string_view operator()(const HostWork&) const { return "host"; }
  std::string_view operator()(const UndescribedWork&) const { return "undescribed"; }
  std::string_view operator()(const CopyWork& work) const {
    constexpr std::array<std::string_view, 4> kRoutes = {"copy", "copy_h2d", "copy_d2h",
                                                         "copy_peer"};
    return kRoutes[static_cast<std::size_t>(work.route)];
  }
};

std::string text(std::int64_t count) { return std::to_string(count); }
std::string text(Bytes bytes) { return std::to_string(bytes.count()) + " B"; }
std::string text(Format format) { return std::string(base::name(format)); }

std::string by(std::int64_t first, std::int64_t second) { return text(first) + "x" + text(second); }

// A matrix of this shape, as tensors print it.
std::string matrix(std::int64_t rows, std::int64_t columns) {
  return "[" + text(rows) + ", " + text(columns) + "]";
}

std::string product(std::int64_t m, std::int64_t k, std::int64_t n) {
  return matrix(m, k) + " @ " + matrix(k, n);
}

// "bf16" when all agree, else "bf16 x int8 -> fp32".
std::string formats(Format a, Format b, Format out) {
  if (a == b && b == out) return text(a);
  return text(a) + " x " + text(b) + " -> " + text(out);
}

std::string traffic(Bytes read, Bytes written) {
  return text(read) + " read, " + text(written) + " written";
}

struct Shape {
  std::string operator()(const NoWork&) const { return {}; }
  std::string operator()(const VectorWork& work) const {
    return text(work.elements) + " elements " + text(work.compute);
  }
  std::string operator()(const MatmulWork& work) const {
    const std::string batch = work.batch == 1 ? "" : text(work.batch) + " x ";
    return batch + product(work.m, work.k, work.n) + " " + formats(work.a, work.b, work.out);
  }
  std::string operator()(const RowWork& work) const {
    return by(work.rows, work.columns) + " " + text(work.compute);
  }
  std::string operator()(const CopyWork& work) const {
    const bool strided = work.run.count() > 0 && work.run < work.read;
    return text(work.written) + (strided ? ", runs of " + text(work.run) : "");
  }
  std::string operator()(const GatherWork& work) const {
    const char* kind = work.accumulates ? " added" : work.scatter ? " scattered" : "";
    return text(work.items) + " x " + text(work.item) + kind;
  }
  std::string operator()(const SortWork& work) const {
    const std::string kept = work.k < work.columns ? " top " + text(work.k) : "";
    return by(work.rows, work.columns) + kept + " " + text(work.format);
  }
  std::string operator()(const AttentionWork& work) const {
    return "b" + text(work.batch) + " h" + text(work.q_heads) + "/" + text(work.kv_heads) + " " +
           by(work.q_len, work.kv_len) + " d" + text(work.qk_dim) + "/" + text(work.v_dim) + " " +
           text(work.format) + (work.causal ? " causal" : "") + (work.backward ? " backward" : "");
  }
  std::string operator()(const GroupedMatmulWork& work) const {
    return text(work.rows.groups()) + " groups, " + product(work.rows.rows(), work.k, work.n) +
           " " + formats(work.a, work.b, work.out);
  }
  std::string operator()(const ConvolutionWork& work) const {
    constexpr std::array<const char*, 3> kPasses = {"", " input grad", " weight grad"};
    return "b" + text(work.batch) + " c" + by(work.in_channels, work.out_channels) + " p" +
           by(work.in_positions, work.out_positions) + " k" + text(work.kernel_positions) +
           (work.groups > 1 ? " g" + text(work.groups) : "") + " " + text(work.format) +
           kPasses[static_cast<std::size_t>(work.pass)];
  }
  std::string operator()(const HostWork& work) const {
    return text(work.to_host) + " to host, " + text(work.to_device) + " back";
  }
  std::string operator()(const UndescribedWork& work) const {
    return traffic(work.read, work.written);
  }
};

}  // namespace

std::string_view name(const Work& work) { return std::visit(KindName{}, work); }

std::string to_text(const Work& work) {
  const std::string shape = std::visit(Shape{}, work);
  return shape.empty() ? std::string(name(work)) : std::string(name(work)) + " " + shape;
}

}  // namespace npu_sim::model
