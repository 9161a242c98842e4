// npu_kv_rmsnorm_rope_cache and its v2 forms: the latent part of kv normalised, the rest rotated,
// both written to their caches, quantised where scales are given.
//
// kv [B, N, S, latent + rope]; or, with v [B, N, S, 128], kv [B, N, S, 192] normalised as a whole,
// its first part rotated, into k_cache, and v into ckv_cache. Pairs of the rope part are gathered
// into halves and turned. Caches by cache_mode:
//   Norm                   [B, N, length, width], index [B, S] places in the sequence
//   PA, PA_BNSD, PA_NZ     [blocks, tokens, N, width], index [B S] slots
//   PA_BLK_BNSD, PA_BLK_NZ the same, index [B ceil(S / tokens)] first slots of pages
// A negative place is not written. NZ keeps 32 bytes together. k_rope and c_kv are written only
// with is_output_kv; else they are zeros here. Source: op-plugin@517f2e7d, docs and test.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/cache/copied_first.h"
#include "ops/cache/paged.h"
#include "ops/cache/rotated_pairs.h"
#include "ops/cache/stored.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: norm and rotation of each token's row in one sweep; what is written is the rows, never
// the caches.
model::Work cache_work(const aten::Call& call) {
  const at::Tensor& kv = call.argument(0);
  const std::int64_t columns = aten::size_along(kv, -1);
  const std::int64_t rows = aten::ratio(aten::elements_of(kv), columns);
  model::RowWork work{.rows = rows,
                      .columns = columns,
                      .compute = model::Format::kFp32,
                      .linear_ops = 9,
                      .reductions = 1,
                      .passes = 1};
  for (const std::size_t i : {0, 1, 2, 3, 4, 7, 8, 9, 10, 11}) {
    work.read += aten::bytes_of(aten::tensor_at(call, i));
  }
  for (const std::size_t i : {5, 6}) {
    const at::Tensor& cache = aten::tensor_at(call, i);
    work.written += base::Bytes(rows * aten::size_along(cache, -1) *
                                static_cast<std::int64_t>(cache.element_size()));
  }
  if (aten::boolean_at(call, 14, false)) work.written += aten::bytes_of(kv);
  return work;
}
constexpr aten::Describer kCache[] = {cache_work};
constexpr aten::Entry kEntries[] = {
    {"npu_kv_rmsnorm_rope_cache", cache_work},
    {"npu_kv_rmsnorm_rope_cache_v2", cache_work},
    {"npu_kv_rmsnorm_rope_cache_v2_functional", copied_first<5, 6>, kCache},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Inputs {
  const char* op;
  const at::Tensor& kv;
  const at::Tensor& gamma;
  const at::Tensor& cos;
  const at::Tensor& sin;
  const at::Tensor& index;
  at::Tensor v;  // undefined: latent form
  double epsilon = 0;
  std::string_view mode;
  bool outputs = false;
  [[nodiscard]] std::int64_t batch() const { return kv.size(0); }
  [[nodiscard]] std::int64_t heads() const { return kv.size(1); }
  [[nodiscard]] std::int64_t length() const { return kv.size(2); }
  [[nodiscard]] std::int64_t k_width() const { return v.defined() ? kv.size(3) : cos.size(3); }
  [[nodiscard]] std::int64_t ckv_width() const { return v.defined() ? v.size(3) : gamma.size(0); }
};

bool is_norm(const Inputs& in) { return in.mode == "Norm"; }
bool is_fractal(const Inputs& in) { return in.mode == "PA_NZ" || in.mode == "PA_BLK_NZ"; }
bool is_by_page(const Inputs& in) { return in.mode == "PA_BLK_NZ" || in.mode == "PA_BLK_BNSD"; }

constexpr std::int64_t kValueWidth = 128;  // what marks the form with v; Source: DV_SIZES there

// v counts only where it has the form's shape; the older kernel ignores it.
at::Tensor value_of(const MaybeTensor& v) {
  const bool taken = given(v) && v->dim() == 4 && v->size(3) == kValueWidth;
  return taken ? *v : at::Tensor();
}

void check_angles(const Inputs& in) {
  const auto fits = [&](std::int64_t axis) {
    return in.cos.size(axis) == 1 || in.cos.size(axis) == in.kv.size(axis);
  };
  TORCH_CHECK_VALUE(in.cos.dim() == 4 && fits(0) && fits(1) && fits(2) && in.cos.size(3) % 2 == 0,
                    in.op, ": expected cos of [", in.batch(), ", ", in.heads(), " or 1, ",
                    in.length(), " or 1, an even width], got ", in.cos.sizes());
  TORCH_CHECK_VALUE(in.sin.sizes() == in.cos.sizes(), in.op, ": expected sin of cos's shape ",
                    in.cos.sizes(), ", got ", in.sin.sizes());
}

void check_inputs(const Inputs& in) {
  const bool known =
      is_norm(in) || is_fractal(in) || is_by_page(in) || in.mode == "PA" || in.mode == "PA_BNSD";
  TORCH_CHECK_VALUE(known, in.op, ": expected cache_mode Norm, PA, PA_BNSD, PA_NZ, PA_BLK_BNSD or ",
                    "PA_BLK_NZ, got ", in.mode);
  TORCH_CHECK_VALUE(in.kv.dim() == 4, in.op, ": expected kv of [batch, heads, tokens, width], got ",
                    in.kv.sizes());
  for (const at::Tensor* const x : {&in.kv, &in.gamma, &in.cos, &in.sin}) {
    TORCH_CHECK_TYPE(x->is_floating_point(), in.op,
                     ": expected kv, gamma, cos and sin of a float dtype, got ", x->scalar_type());
  }
  TORCH_CHECK_VALUE(in.gamma.dim() == 1, in.op, ": expected gamma of 1 axis, got ",
                    in.gamma.sizes());
  check_angles(in);
  if (in.v.defined()) {
    TORCH_CHECK_VALUE(in.gamma.size(0) == in.kv.size(3) && in.cos.size(3) <= in.kv.size(3), in.op,
                      ": expected gamma of kv's width ", in.kv.size(3), ", got ", in.gamma.sizes());
    TORCH_CHECK_VALUE(in.v.sizes().slice(0, 3) == in.kv.sizes().slice(0, 3), in.op,
                      ": expected v of kv's tokens ", in.kv.sizes(), ", got ", in.v.sizes());
  } else {
    TORCH_CHECK_VALUE(in.gamma.size(0) + in.cos.size(3) == in.kv.size(3), in.op,
                      ": expected kv as wide as gamma and cos together, ",
                      in.gamma.size(0) + in.cos.size(3), ", got ", in.kv.sizes());
  }
}

void check_cache(const Inputs& in, const char* argument, const at::Tensor& cache,
                 std::int64_t width) {
  TORCH_CHECK_VALUE(cache.dim() == 4 && cache.size(3) == width, in.op, ": expected ", argument,
                    " of 4 axes, the last of ", width, ", got ", cache.sizes());
  TORCH_CHECK_VALUE(
      cache.size(is_norm(in) ? 1 : 2) == in.heads(), in.op, ": expected ", argument, " of ",
      is_norm(in) ? "[batch, heads, length, width]" : "[blocks, tokens, heads, width]", " with ",
      in.heads(), " heads, got ", cache.sizes());
  TORCH_CHECK_VALUE(!is_norm(in) || (cache.size(0) == in.batch() && cache.is_contiguous()), in.op,
                    ": expected ", argument, " of ", in.batch(), " sequences, contiguous, got ",
                    cache.sizes(), " with strides ", cache.strides());
}

// A scale is one number, a row, or a row of each head.
void check_scale(const Inputs& in, const char* argument, const MaybeTensor& scale,
                 std::int64_t width) {
  if (!given(scale)) return;
  const std::int64_t count = scale->numel();
  TORCH_CHECK_VALUE(count == 1 || count == width || count == in.heads() * width, in.op,
                    ": expected ", argument, " of [", width, "] or [", in.heads(), ", ", width,
                    "], got ", scale->sizes());
}

void check_index(const Inputs& in, const at::Tensor& cache) {
  const std::int64_t tokens = is_norm(in) ? cache.size(2) : cache.size(1);
  const std::int64_t pages =
      is_by_page(in) ? (tokens == 0 ? 0 : (in.length() + tokens - 1) / tokens) : in.length();
  TORCH_CHECK_VALUE(in.index.numel() == in.batch() * pages, in.op, ": expected index of ",
                    in.batch() * pages, " elements in cache_mode ", in.mode, ", got ",
                    in.index.sizes());
}

// --- compute
// Slot of each row, as put_rows takes it: of each token, or in mode Norm of each head of each
// token, whose slots are those of [batch heads, length].
Integers slots_of(const Inputs& in, const at::Tensor& cache) {
  Integers index = integers_of({.op = in.op, .argument = "index"}, in.index);
  if (!is_norm(in) && !is_by_page(in)) return index;
  const std::int64_t tokens =
      std::max<std::int64_t>(1, is_norm(in) ? cache.size(2) : cache.size(1));
  const std::int64_t pages = (in.length() + tokens - 1) / tokens;
  Integers slots;
  for (std::int64_t row = 0; row < in.batch() * (is_norm(in) ? in.heads() : 1); ++row) {
    const std::int64_t b = is_norm(in) ? row / in.heads() : row;
    for (std::int64_t i = 0; i < in.length(); ++i) {
      const std::int64_t at = is_norm(in) ? b * in.length() + i : b * pages + i / tokens;
      const std::int64_t place = index[static_cast<std::size_t>(at)];
      TORCH_CHECK_INDEX(!is_norm(in) || place < tokens, in.op, ": expected index below ", tokens,
                        ", the length of the cache, got ", place);
      const std::int64_t slot =
          is_norm(in) ? row * tokens + place : place / tokens * tokens + i % tokens;
      slots.push_back(place < 0 ? -1 : slot);
    }
  }
  return slots;
}

at::Tensor by_head(const MaybeTensor& scale, const Inputs& in) {
  const bool of_heads = given(scale) && in.heads() > 1 && scale->numel() > 1 &&
                        scale->numel() % in.heads() == 0 && scale->dim() > 1;
  return of_heads ? scale->view({in.heads(), -1}) : scale.value_or(at::Tensor());
}

// values [batch, heads, tokens, width].
void write(const Inputs& in, const char* argument, const at::Tensor& values,
           const at::Tensor& cache, Quantisation quantisation) {
  const ArgumentName name{.op = in.op, .argument = argument};
  quantisation.scale = by_head(quantisation.scale, in);
  quantisation.offset = by_head(quantisation.offset, in);
  const at::Tensor tokens = stored(name, values.transpose(1, 2), cache, quantisation);
  const at::Tensor blocks =
      is_norm(in) ? cache.view({in.batch() * in.heads(), cache.size(2), 1, cache.size(3)}) : cache;
  const CacheShape shape =
      shape_of_blocks(name, blocks, is_fractal(in) ? CacheLayout::kFractal : CacheLayout::kRows);
  put_rows({.op = in.op, .argument = "index"}, PagedCache(name, blocks, shape),
           is_norm(in) ? tokens.transpose(1, 2).contiguous() : tokens, slots_of(in, cache));
}

struct Parts {
  at::Tensor k;    // fp32, for k_cache
  at::Tensor ckv;  // for ckv_cache
};

at::Tensor normalized(const at::Tensor& x, const at::Tensor& gamma, double epsilon) {
  return x * at::rsqrt((x * x).mean(-1, true) + epsilon) * widened(gamma);
}

Parts parts_of(const Inputs& in) {
  const at::Tensor kv = widened(in.kv);
  const at::Tensor cos = widened(in.cos);
  const at::Tensor sin = widened(in.sin);
  const std::int64_t rope = in.cos.size(3);
  if (!in.v.defined()) {
    const std::int64_t latent = in.gamma.size(0);
    return {.k = rotated_pairs(kv.narrow(-1, latent, rope), cos, sin),
            .ckv = normalized(kv.narrow(-1, 0, latent), in.gamma, in.epsilon)};
  }
  const at::Tensor y = normalized(kv, in.gamma, in.epsilon);
  const at::Tensor turned = rotated_pairs(y.narrow(-1, 0, rope), cos, sin);
  return {.k = at::cat({turned, y.narrow(-1, rope, y.size(-1) - rope)}, -1), .ckv = widened(in.v)};
}

struct CacheArguments {
  const at::Tensor& k;
  const at::Tensor& ckv;
  Quantisation k_quantisation;
  Quantisation ckv_quantisation;
};

using Two = std::tuple<at::Tensor, at::Tensor>;

Two run(const Inputs& in, const CacheArguments& caches) {
  check_inputs(in);
  check_cache(in, "k_cache", caches.k, in.k_width());
  check_cache(in, "ckv_cache", caches.ckv, in.ckv_width());
  check_index(in, caches.k);
  check_quantisation({in.op, "k_rope_scale"}, caches.k, caches.k_quantisation, in.k_width());
  check_quantisation({in.op, "c_kv_scale"}, caches.ckv, caches.ckv_quantisation, in.ckv_width());
  check_scale(in, "k_rope_scale", caches.k_quantisation.scale, in.k_width());
  check_scale(in, "k_rope_offset", caches.k_quantisation.offset, in.k_width());
  check_scale(in, "c_kv_scale", caches.ckv_quantisation.scale, in.ckv_width());
  check_scale(in, "c_kv_offset", caches.ckv_quantisation.offset, in.ckv_width());
  std::vector<std::int64_t> k_sizes = in.kv.sizes().vec();
  std::vector<std::int64_t> ckv_sizes = k_sizes;
  k_sizes.back() = in.k_width();
  ckv_sizes.back() = in.ckv_width();
  if (in.kv.is_meta()) {
    return {at::empty(k_sizes, in.kv.options()), at::empty(ckv_sizes, in.kv.options())};
  }
  const Parts parts = parts_of(in);
  write(in, "k_cache", parts.k, caches.k, caches.k_quantisation);
  write(in, "ckv_cache", parts.ckv, caches.ckv, caches.ckv_quantisation);
  if (!in.outputs) {
    return {at::zeros(k_sizes, in.kv.options()), at::zeros(ckv_sizes, in.kv.options())};
  }
  return {parts.k.to(in.kv.scalar_type()), parts.ckv.to(in.kv.scalar_type())};
}

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Writes and returns the caches although its schema does not say so, as the card's does.
Four kv_rmsnorm_rope_cache(const at::Tensor& kv, const at::Tensor& gamma, const at::Tensor& cos,
                           const at::Tensor& sin, const at::Tensor& index,
                           const at::Tensor& k_cache, const at::Tensor& ckv_cache,
                           const MaybeTensor& k_rope_scale, const MaybeTensor& c_kv_scale,
                           const MaybeTensor& k_rope_offset, const MaybeTensor& c_kv_offset,
                           const MaybeTensor& v, double epsilon, c10::string_view cache_mode,
                           bool is_output_kv) {
  const auto [k_rope, c_kv] =
      run({"npu_kv_rmsnorm_rope_cache", kv, gamma, cos, sin, index, value_of(v), epsilon,
           cache_mode, is_output_kv},
          {k_cache,
           ckv_cache,
           {.scale = k_rope_scale, .offset = k_rope_offset, .dtype = std::nullopt},
           {.scale = c_kv_scale, .offset = c_kv_offset, .dtype = std::nullopt}});
  return {k_cache, ckv_cache, k_rope, c_kv};
}

Two kv_rmsnorm_rope_cache_v2(const at::Tensor& kv, const at::Tensor& gamma, const at::Tensor& cos,
                             const at::Tensor& sin, const at::Tensor& index, at::Tensor& k_cache,
                             at::Tensor& ckv_cache, const MaybeTensor& k_rope_scale,
                             const MaybeTensor& c_kv_scale, const MaybeTensor& k_rope_offset,
                             const MaybeTensor& c_kv_offset, const MaybeTensor& v, double epsilon,
                             c10::string_view cache_mode, bool is_output_kv,
                             std::optional<std::int64_t> k_cache_dtype,
                             std::optional<std::int64_t> ckv_cache_dtype) {
  return run({"npu_kv_rmsnorm_rope_cache_v2", kv, gamma, cos, sin, index, value_of(v), epsilon,
              cache_mode, is_output_kv},
             {k_cache,
              ckv_cache,
              {.scale = k_rope_scale, .offset = k_rope_offset, .dtype = k_cache_dtype},
              {.scale = c_kv_scale, .offset = c_kv_offset, .dtype = ckv_cache_dtype}});
}

Four kv_rmsnorm_rope_cache_v2_functional(
    const at::Tensor& kv, const at::Tensor& gamma, const at::Tensor& cos, const at::Tensor& sin,
    const at::Tensor& index, const at::Tensor& k_cache, const at::Tensor& ckv_cache,
    const MaybeTensor& k_rope_scale, const MaybeTensor& c_kv_scale,
    const MaybeTensor& k_rope_offset, const MaybeTensor& c_kv_offset, const MaybeTensor& v,
    double epsilon, c10::string_view cache_mode, bool is_output_kv,
    std::optional<std::int64_t> k_cache_dtype, std::optional<std::int64_t> ckv_cache_dtype) {
  at::Tensor new_k = k_cache.clone(at::MemoryFormat::Contiguous);
  at::Tensor new_ckv = ckv_cache.clone(at::MemoryFormat::Contiguous);
  const auto [k_rope, c_kv] = kv_rmsnorm_rope_cache_v2(
      kv, gamma, cos, sin, index, new_k, new_ckv, k_rope_scale, c_kv_scale, k_rope_offset,
      c_kv_offset, v, epsilon, cache_mode, is_output_kv, k_cache_dtype, ckv_cache_dtype);
  return {k_rope, c_kv, new_k, new_ckv};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&kv_rmsnorm_rope_cache>(m, "npu_kv_rmsnorm_rope_cache");
  composed_kernel<&kv_rmsnorm_rope_cache_v2>(m, "npu_kv_rmsnorm_rope_cache_v2");
  composed_kernel<&kv_rmsnorm_rope_cache_v2_functional>(m,
                                                        "npu_kv_rmsnorm_rope_cache_v2_functional");
}

}  // namespace
}  // namespace npu_sim::ops
