// npu_rope_quant_kvcache and npu_dequant_rope_quant_kvcache: a joint projection cut into q, k and
// v, q and k rotated, k and v quantised to int8 into their caches.
//
// x [B, (S,) q + k + v] by size_splits; caches [B, length, heads, width] with indices [B] of first
// places (cache_mode 'contiguous'), or [blocks, tokens, heads, width] with a slot a token ('page').
// The form with dequantisation takes x of int32: x weight_scale activation_scale + bias. An int8
// value is round(value * scale + offset). Both write and return the caches, as the card's do.
// Source: op-plugin@517f2e7d, opapi and test_npu_rope_quant_kvcache.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/cache/paged.h"
#include "ops/cache/rotated_pairs.h"
#include "ops/cache/stored.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: x streamed once; of the caches only the rows of the tokens are written.
model::Work cache_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const std::int64_t columns = aten::size_along(x, -1);
  const std::int64_t rows = aten::ratio(aten::elements_of(x), columns);
  const at::Tensor& cache = call.argument(3);
  model::VectorWork work{.elements = x.numel(),
                         .read = aten::bytes_of(x) + aten::bytes_of(call.argument(1)) +
                                 aten::bytes_of(call.argument(2)) +
                                 aten::bytes_of(call.argument(5)),
                         .compute = model::Format::kFp32,
                         .linear_ops = 9};
  for (const std::size_t i : {0, 1, 2}) work.written += aten::bytes_of(call.result(i));
  work.written += base::Bytes(2 * rows * aten::size_along(cache, 2) * aten::size_along(cache, 3));
  return work;
}
constexpr aten::Entry kEntries[] = {
    {"npu_rope_quant_kvcache", cache_work},
    {"npu_dequant_rope_quant_kvcache", cache_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Job {
  const char* op = nullptr;
  at::Tensor x{};
  at::Tensor cos{};
  at::Tensor sin{};
  at::Tensor k_cache{};
  at::Tensor v_cache{};
  at::Tensor indices{};
  Quantisation k{};
  Quantisation v{};
  std::vector<std::int64_t> splits{};
  std::int64_t quant_mode = 0;
  bool outputs = false;
  bool paged = false;
  [[nodiscard]] std::int64_t width() const { return v_cache.size(3); }
  [[nodiscard]] std::int64_t kv_heads() const { return v_cache.size(2); }
  [[nodiscard]] std::int64_t rows() const { return x.numel() / x.size(-1); }
};

struct Options {
  std::string_view layout;
  std::string_view cache_mode;
};

void check_sizes(const Job& job) {
  const std::int64_t width = job.width();
  const std::int64_t kv = job.kv_heads() * width;
  TORCH_CHECK_VALUE(kv > 0 && width % 2 == 0 && job.splits.size() == 3 && job.splits[0] >= 0 &&
                        job.splits[0] % width == 0 && job.splits[1] == kv && job.splits[2] == kv &&
                        job.splits[0] + 2 * kv == job.x.size(-1),
                    job.op, ": expected size_splits of [queries, ", kv, ", ", kv,
                    "] that sum to x's ", job.x.size(-1), ", got ", at::IntArrayRef(job.splits));
  TORCH_CHECK_VALUE(job.cos.sizes() == job.sin.sizes() && job.cos.numel() == job.rows() * width,
                    job.op, ": expected cos and sin of ", job.rows(), " tokens of ", width,
                    ", got ", job.cos.sizes(), " and ", job.sin.sizes());
  TORCH_CHECK_TYPE(job.cos.is_floating_point() && job.sin.is_floating_point(), job.op,
                   ": expected cos and sin of a float dtype, got ", job.cos.scalar_type());
  check_quantisation({job.op, "scale_k"}, job.k_cache, job.k, width);
  check_quantisation({job.op, "scale_v"}, job.v_cache, job.v, width);
  const std::int64_t wanted = job.paged ? job.rows() : job.x.size(0);
  TORCH_CHECK_VALUE(job.indices.dim() == 1 && job.indices.size(0) == wanted, job.op,
                    ": expected indices of [", wanted, "], got ", job.indices.sizes());
  TORCH_CHECK_VALUE(job.paged || job.k_cache.size(0) == job.x.size(0), job.op,
                    ": expected caches of ", job.x.size(0), " sequences, got ",
                    job.k_cache.sizes());
}

void check(Job& job, const Options& options) {
  TORCH_CHECK_VALUE(options.cache_mode == "contiguous" || options.cache_mode == "page", job.op,
                    ": expected cache_mode 'contiguous' or 'page', got '", options.cache_mode, "'");
  job.paged = options.cache_mode == "page";
  TORCH_CHECK_VALUE(options.layout == "BSND", job.op, ": expected input_layout BSND, got ",
                    options.layout);
  TORCH_CHECK_NOT_IMPLEMENTED(job.quant_mode == 0, job.op,
                              ": quant_mode 1 (dynamic) is not built yet");
  TORCH_CHECK_VALUE(job.x.dim() == 2 || job.x.dim() == 3, job.op,
                    ": expected x of 2 or 3 axes, got ", job.x.sizes());
  TORCH_CHECK_VALUE(job.k_cache.dim() == 4 && job.v_cache.sizes() == job.k_cache.sizes(), job.op,
                    ": expected k_cache and v_cache of 4 axes and one shape, got ",
                    job.k_cache.sizes(), " and ", job.v_cache.sizes());
  TORCH_CHECK_TYPE(job.k_cache.scalar_type() == at::kChar && job.v_cache.scalar_type() == at::kChar,
                   job.op, ": expected caches of int8, got ", job.k_cache.scalar_type(), " and ",
                   job.v_cache.scalar_type());
  check_sizes(job);
}

// --- compute
Integers slots_of(const Job& job) {
  Integers indices = integers_of({.op = job.op, .argument = "indices"}, job.indices);
  if (job.paged) return indices;
  const std::int64_t each = job.x.dim() == 3 ? job.x.size(1) : 1;
  const std::int64_t length = job.k_cache.size(1);
  Integers slots;
  for (std::size_t b = 0; b < indices.size(); ++b) {
    TORCH_CHECK_INDEX(indices[b] >= 0 && indices[b] + each <= length, job.op,
                      ": expected indices in [0, ", length - each, "], got ", indices[b]);
    for (std::int64_t i = 0; i < each; ++i) {
      slots.push_back(static_cast<std::int64_t>(b) * length + indices[b] + i);
    }
  }
  return slots;
}

void put(const Job& job, const char* argument, const at::Tensor& values, const at::Tensor& cache,
         const Quantisation& quantisation) {
  const ArgumentName name{.op = job.op, .argument = argument};
  put_rows({.op = job.op, .argument = "indices"},
           PagedCache(name, cache, shape_of_blocks(name, cache, CacheLayout::kRows)),
           stored(name, values, cache, quantisation), slots_of(job));
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

std::vector<std::int64_t> sizes_of(const Job& job, std::int64_t heads) {
  std::vector<std::int64_t> sizes = job.x.sizes().vec();
  sizes.back() = heads;
  sizes.push_back(job.width());
  return sizes;
}

// `x` in fp32 or (where shapes alone are asked for) meta.
Five run(const Job& job) {
  const auto options = job.cos.options();
  const std::vector<std::int64_t> q_sizes = sizes_of(job, job.splits[0] / job.width());
  const std::vector<std::int64_t> kv_sizes =
      job.outputs ? sizes_of(job, job.kv_heads()) : std::vector<std::int64_t>{0};
  if (job.x.is_meta()) {
    return {at::empty(q_sizes, options), at::empty(kv_sizes, options), at::empty(kv_sizes, options),
            job.k_cache, job.v_cache};
  }
  const auto parts = job.x.reshape({job.rows(), job.x.size(-1)}).split_with_sizes(job.splits, -1);
  const auto heads_of = [&](const at::Tensor& part) {
    return part.reshape({job.rows(), part.size(-1) / job.width(), job.width()});
  };
  const at::Tensor cos = widened(job.cos).reshape({job.rows(), 1, job.width()});
  const at::Tensor sin = widened(job.sin).reshape({job.rows(), 1, job.width()});
  const auto turned = [&](const at::Tensor& x) { return x * cos + turned_halves(x) * sin; };
  const at::Tensor q = turned(heads_of(parts[0]));
  const at::Tensor k = turned(heads_of(parts[1]));
  const at::Tensor v = heads_of(parts[2]);
  put(job, "k_cache", k, job.k_cache, job.k);
  put(job, "v_cache", v, job.v_cache, job.v);
  const auto out = [&](const at::Tensor& x) {
    return job.outputs ? x.to(options.dtype()).view(kv_sizes) : at::empty({0}, options);
  };
  return {q.to(options.dtype()).view(q_sizes), out(k), out(v), job.k_cache, job.v_cache};
}

at::Tensor dequantised(const char* op, const at::Tensor& x,
                       const std::array<MaybeTensor, 3>& scales_and_bias) {
  const auto& [weight, activation, bias] = scales_and_bias;
  const std::int64_t rows = x.numel() / std::max<std::int64_t>(1, x.size(-1));
  at::Tensor wide = x.to(at::kFloat);
  if (given(weight)) {
    TORCH_CHECK_VALUE(weight->numel() == x.size(-1), op, ": expected weight_scale of [", x.size(-1),
                      "], got ", weight->sizes());
    wide = wide * widened(*weight).flatten();
  }
  if (given(activation)) {
    TORCH_CHECK_VALUE(activation->numel() == rows, op, ": expected activation_scale of [", rows,
                      "], got ", activation->sizes());
    std::vector<std::int64_t> sizes = x.sizes().vec();
    sizes.back() = 1;
    wide = wide * widened(*activation).reshape(sizes);
  }
  if (given(bias)) {
    TORCH_CHECK_VALUE(bias->numel() == x.size(-1), op, ": expected bias of [", x.size(-1),
                      "], got ", bias->sizes());
    wide = wide + widened(*bias).flatten();
  }
  return wide;
}

// Both operators, once `wide` holds the values of x in fp32.
Five turned_and_stored(const char* op, const at::Tensor& wide, const at::Tensor& cos,
                       const at::Tensor& sin, const at::Tensor& k_cache, const at::Tensor& v_cache,
                       const at::Tensor& indices, const Quantisation& k, const Quantisation& v,
                       at::IntArrayRef size_splits, std::int64_t quant_mode, bool kv_output,
                       const Options& options) {
  Job job{.op = op,
          .x = wide,
          .cos = cos,
          .sin = sin,
          .k_cache = k_cache,
          .v_cache = v_cache,
          .indices = indices,
          .k = k,
          .v = v,
          .splits = size_splits.vec(),
          .quant_mode = quant_mode,
          .outputs = kv_output};
  check(job, options);
  return run(job);
}

Five rope_quant_kvcache(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                        const at::Tensor& k_cache, const at::Tensor& v_cache,
                        const at::Tensor& indices, const at::Tensor& scale_k,
                        const at::Tensor& scale_v, at::IntArrayRef size_splits,
                        const MaybeTensor& offset_k, const MaybeTensor& offset_v,
                        std::int64_t quant_mode, c10::string_view input_layout, bool kv_output,
                        c10::string_view cache_mode) {
  constexpr const char* kOp = "npu_rope_quant_kvcache";
  TORCH_CHECK_TYPE(x.is_floating_point(), kOp, ": expected x of a float dtype, got ",
                   x.scalar_type());
  return turned_and_stored(kOp, widened(x), cos, sin, k_cache, v_cache, indices,
                           {.scale = scale_k, .offset = offset_k, .dtype = std::nullopt},
                           {.scale = scale_v, .offset = offset_v, .dtype = std::nullopt},
                           size_splits, quant_mode, kv_output, {input_layout, cache_mode});
}

Five dequant_rope_quant_kvcache(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                                const at::Tensor& k_cache, const at::Tensor& v_cache,
                                const at::Tensor& indices, const at::Tensor& scale_k,
                                const at::Tensor& scale_v, at::IntArrayRef size_splits,
                                const MaybeTensor& offset_k, const MaybeTensor& offset_v,
                                const MaybeTensor& weight_scale,
                                const MaybeTensor& activation_scale, const MaybeTensor& bias,
                                std::int64_t quant_mode, c10::string_view input_layout,
                                bool kv_output, c10::string_view cache_mode) {
  constexpr const char* kOp = "npu_dequant_rope_quant_kvcache";
  TORCH_CHECK_TYPE(x.scalar_type() == at::kInt, kOp, ": expected x of int32, got ",
                   x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() == 2 || x.dim() == 3, kOp, ": expected x of 2 or 3 axes, got ",
                    x.sizes());
  return turned_and_stored(kOp, dequantised(kOp, x, {weight_scale, activation_scale, bias}), cos,
                           sin, k_cache, v_cache, indices,
                           {.scale = scale_k, .offset = offset_k, .dtype = std::nullopt},
                           {.scale = scale_v, .offset = offset_v, .dtype = std::nullopt},
                           size_splits, quant_mode, kv_output, {input_layout, cache_mode});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&rope_quant_kvcache>(m, "npu_rope_quant_kvcache");
  composed_kernel<&dequant_rope_quant_kvcache>(m, "npu_dequant_rope_quant_kvcache");
}

}  // namespace
}  // namespace npu_sim::ops
