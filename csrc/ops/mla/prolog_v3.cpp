// npu_mla_prolog_v3 and its functional form: queries and keys of latent attention from the tokens.
//
//   c_q = rms(x W_dq) gamma qc_qr_scale          q_norm
//   [q_c, q_r] = c_q W_uq_qr                     a head each
//   query = q_c W_uk, query_rope = rotated(q_r)
//   [c_kv, k_r] = x W_dkv_kr
//   kv_cache <- rms(c_kv) gamma kc_scale, kr_cache <- rotated(k_r)
//
// What passes between products is bf16, or quantised where the next weight is. An Ascend 950 lacks
// npu_mla_prolog and _v2. Source: op-plugin@517f2e7d, docs, MlaPrologV3KernelNpuOpApi.cpp and the
// goldens of test_mla_prolog.py and test_mla_prolog_v3.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/cache/copied_first.h"
#include "ops/cache/rotated_pairs.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/scaled_product.h"
#include "ops/mla/prolog.h"
#include "ops/mla/rows.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: one kernel on the card; its products follow one another here, the vector cores' share
// hidden below them.
std::int64_t tokens_of(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  return aten::ratio(aten::elements_of(x), aten::size_along(x, -1));
}
model::Work product(const aten::Call& call, std::size_t weight, const at::Tensor& left) {
  const at::Tensor& w = call.argument(weight);
  return model::MatmulWork{.m = tokens_of(call),
                           .n = aten::size_along(w, 1),
                           .k = aten::size_along(w, 0),
                           .a = aten::format_of(left),
                           .b = aten::format_of(w),
                           .out = model::Format::kBf16};
}
model::Work down_work(const aten::Call& call) { return product(call, 1, call.argument(0)); }
model::Work up_work(const aten::Call& call) { return product(call, 2, call.argument(2)); }
model::Work absorb_work(const aten::Call& call) {
  const at::Tensor& w = call.argument(3);
  return model::MatmulWork{.batch = aten::size_along(w, 0),
                           .m = tokens_of(call),
                           .n = aten::size_along(w, 2),
                           .k = aten::size_along(w, 1),
                           .a = model::Format::kBf16,
                           .b = aten::format_of(w),
                           .out = aten::format_of(call.result(0))};
}
model::Work keys_work(const aten::Call& call) { return product(call, 4, call.argument(0)); }
constexpr aten::Describer kRest[] = {up_work, absorb_work, keys_work};
constexpr aten::Describer kAll[] = {down_work, up_work, absorb_work, keys_work};
constexpr aten::Entry kEntries[] = {
    {"npu_mla_prolog_v3", down_work, kRest},
    {"npu_mla_prolog_v3_functional", copied_first<9, 10>, kAll},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor to_bf16(const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kFloat); }

at::Tensor int8_product(const at::Tensor& a, const at::Tensor& b) {
  constexpr auto kInt8 = compute::Element::kInt8;
  return unscaled_product({a, kInt8}, {b, kInt8}).to(at::kFloat);
}

// x W with whatever scales the modes have, for weight_dq and weight_dkv_kr: fp32.
at::Tensor of_tokens(const Prolog& prolog, const at::Tensor& weight, const at::Tensor& scale) {
  const at::Tensor x = prolog.tensors.x.flatten(0, -2);
  switch (prolog.weights) {
    case WeightQuant::kNone:
    case WeightQuant::kUpInt8: return to_bf16(at::matmul(widened(x), widened(weight)));
    case WeightQuant::kInt8: return int8_product(x, weight) * prolog.scales.x * scale;
    case WeightQuant::kMxFp8: {
      const compute::Element element = prolog.element();
      return at::matmul(mx_values(x, element, prolog.scales.x),
                        mx_values(weight.t(), element, scale).t());
    }
    case WeightQuant::kFp8:
    case WeightQuant::kHifloat8:
      return at::matmul(decoded(x, prolog.element()), decoded(weight, prolog.element())) *
             prolog.scales.x * scale;
  }
  return {};
}

at::Tensor normalized(const at::Tensor& x, const at::Tensor& gamma, double epsilon) {
  return x * at::rsqrt((x * x).mean(-1, true) + epsilon) * widened(gamma);
}

// The normalised queries as the product with weight_uq_qr takes them, and that product.
struct Up {
  at::Tensor norm;   // output query_norm
  at::Tensor scale;  // output dequant_scale_q_norm; undefined: none
  at::Tensor product;
};

Up up_of(const Prolog& prolog, const at::Tensor& norm) {
  const at::Tensor& weight = prolog.tensors.up;
  const compute::Element element = prolog.element();
  if (prolog.weights == WeightQuant::kNone) {
    const at::Tensor rounded = norm.to(at::kBFloat16);
    return {.norm = rounded,
            .scale = {},
            .product = to_bf16(at::matmul(widened(rounded), widened(weight)))};
  }
  if (prolog.weights == WeightQuant::kMxFp8) {
    const QuantisedRows rows = mx_quantised_rows(prolog.op, to_bf16(norm), element);
    return {
        .norm = rows.codes,
        .scale = rows.scale.view(at::kFloat8_e8m0fnu),
        .product = at::matmul(rows.values, mx_values(weight.t(), element, prolog.scales.up).t())};
  }
  const QuantisedRows rows = quantised_rows(
      prolog.op, prolog.scales.smooth.defined() ? norm * prolog.scales.smooth : norm, element);
  const at::Tensor exact = element == compute::Element::kInt8
                               ? int8_product(rows.codes, weight)
                               : at::matmul(rows.values, decoded(weight, element));
  return {
      .norm = rows.codes, .scale = rows.scale, .product = exact * rows.scale * prolog.scales.up};
}

struct Outputs {
  at::Tensor query;
  at::Tensor query_rope;
  at::Tensor query_scale;  // undefined: none
  at::Tensor norm;
  at::Tensor norm_scale;  // undefined: none
};

Outputs queries_of(const Prolog& prolog, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor down = of_tokens(prolog, prolog.tensors.down, prolog.scales.down);
  const at::Tensor norm =
      normalized(down, prolog.tensors.gamma_q, prolog.epsilon_q) * prolog.query_factor;
  const Up up = up_of(prolog, norm);
  const at::Tensor heads =
      up.product.unflatten(-1, {prolog.heads(), prolog.nope() + prolog.rope()});
  const at::Tensor nope = to_bf16(heads.narrow(-1, 0, prolog.nope())).transpose(0, 1);
  const at::Tensor query =
      at::bmm(nope, widened(prolog.tensors.absorb)).transpose(0, 1).to(at::kBFloat16);
  at::Tensor rope = rotated_pairs(heads.narrow(-1, prolog.nope(), prolog.rope()), cos.unsqueeze(1),
                                  sin.unsqueeze(1));
  if (!prolog.quantises_query()) {
    return {.query = query.contiguous(),
            .query_rope = rope.to(at::kBFloat16),
            .query_scale = {},
            .norm = up.norm,
            .norm_scale = up.scale};
  }
  const QuantisedRows rows = quantised_rows(prolog.op, query.to(at::kFloat), prolog.element());
  // Scores of both parts are scaled together, by the query's scale over the cache's.
  rope = to_bf16(rope) * prolog.scales.ckv / rows.scale;
  return {.query = rows.codes.contiguous(),
          .query_rope = rope.to(at::kBFloat16),
          .query_scale = rows.scale,
          .norm = up.norm,
          .norm_scale = up.scale};
}

void cache_keys(const Prolog& prolog, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor both = of_tokens(prolog, prolog.tensors.keys, prolog.scales.keys);
  const at::Tensor latent =
      normalized(both.narrow(-1, 0, prolog.latent()), prolog.tensors.gamma_k, prolog.epsilon_k) *
      prolog.key_factor;
  store_keys(prolog, latent,
             rotated_pairs(both.narrow(-1, prolog.latent(), prolog.rope()), cos, sin));
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

std::vector<std::int64_t> sizes_of(const Prolog& prolog, std::initializer_list<std::int64_t> rest) {
  std::vector<std::int64_t> sizes = prolog.tensors.x.sizes().vec();
  sizes.pop_back();
  sizes.insert(sizes.end(), rest);
  return sizes;
}

at::ScalarType query_dtype(const Prolog& prolog) {
  return prolog.quantises_query() ? carrier(prolog.element()) : at::kBFloat16;
}

at::ScalarType norm_scale_dtype(const Prolog& prolog) {
  return prolog.weights == WeightQuant::kMxFp8 ? at::kFloat8_e8m0fnu : at::kFloat;
}

// Outputs without values: for meta tensors, and in the place of those that a mode lacks.
Five empty_outputs(const Prolog& prolog) {
  const auto options = prolog.tensors.x.options();
  const bool has_scale = prolog.gives_norm && prolog.weights != WeightQuant::kNone;
  const std::int64_t scales =
      prolog.weights == WeightQuant::kMxFp8 ? prolog.tensors.down.size(1) / kMxBlock : 1;
  using Sizes = std::vector<std::int64_t>;
  const auto make = [&](const Sizes& sizes, at::ScalarType dtype) {
    return at::empty(sizes, options.dtype(dtype));
  };
  return {make(sizes_of(prolog, {prolog.heads(), prolog.latent()}), query_dtype(prolog)),
          make(sizes_of(prolog, {prolog.heads(), prolog.rope()}), at::kBFloat16),
          make(prolog.quantises_query() ? Sizes{prolog.tokens(), prolog.heads(), 1} : Sizes{0},
               at::kFloat),
          make(prolog.gives_norm ? sizes_of(prolog, {prolog.tensors.down.size(1)}) : Sizes{0},
               prolog.tensors.up.scalar_type()),
          make(has_scale ? Sizes{prolog.tokens(), scales} : Sizes{0}, norm_scale_dtype(prolog))};
}

Five run(const Prolog& prolog) {
  check_prolog(prolog);
  Five nothing = empty_outputs(prolog);
  if (prolog.tensors.x.is_meta() || prolog.tokens() == 0) return nothing;
  const at::Tensor cos = widened(prolog.tensors.cos).flatten(0, -2);
  const at::Tensor sin = widened(prolog.tensors.sin).flatten(0, -2);
  const Outputs out = queries_of(prolog, cos, sin);
  cache_keys(prolog, cos, sin);
  const bool has_norm_scale = prolog.gives_norm && out.norm_scale.defined();
  return {out.query.view(std::get<0>(nothing).sizes()),
          out.query_rope.view(std::get<1>(nothing).sizes()),
          out.query_scale.defined() ? out.query_scale : std::get<2>(nothing),
          prolog.gives_norm ? out.norm.view(std::get<3>(nothing).sizes()) : std::get<3>(nothing),
          has_norm_scale ? out.norm_scale : std::get<4>(nothing)};
}

at::Tensor tensor_of(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }

// --- op
Five mla_prolog_v3(const at::Tensor& token_x, const at::Tensor& weight_dq,
                   const at::Tensor& weight_uq_qr, const at::Tensor& weight_uk,
                   const at::Tensor& weight_dkv_kr, const at::Tensor& rmsnorm_gamma_cq,
                   const at::Tensor& rmsnorm_gamma_ckv, const at::Tensor& rope_sin,
                   const at::Tensor& rope_cos, at::Tensor& kv_cache, at::Tensor& kr_cache,
                   const MaybeTensor& cache_index, const MaybeTensor& dequant_scale_x,
                   const MaybeTensor& dequant_scale_w_dq, const MaybeTensor& dequant_scale_w_uq_qr,
                   const MaybeTensor& dequant_scale_w_dkv_kr, const MaybeTensor& quant_scale_ckv,
                   const MaybeTensor& quant_scale_ckr, const MaybeTensor& smooth_scales_cq,
                   const MaybeTensor& actual_seq_len, const MaybeTensor& k_nope_clip_alpha,
                   double rmsnorm_epsilon_cq, double rmsnorm_epsilon_ckv,
                   c10::string_view cache_mode, bool query_norm_flag,
                   std::int64_t weight_quant_mode, std::int64_t kv_cache_quant_mode,
                   std::int64_t query_quant_mode, std::int64_t ckvkr_repo_mode,
                   std::int64_t quant_scale_repo_mode, std::int64_t tile_size, double qc_qr_scale,
                   double kc_scale,
                   std::optional<std::int64_t> /*token_x_dtype: mode 5 says hifloat8*/,
                   std::optional<std::int64_t> /*weight_dq_dtype*/,
                   std::optional<std::int64_t> /*weight_uq_qr_dtype*/,
                   std::optional<std::int64_t> /*weight_dkv_kr_dtype*/,
                   std::optional<std::int64_t> /*kv_cache_dtype*/) {
  Prolog prolog{
      .op = "npu_mla_prolog_v3",
      .tensors = {token_x, weight_dq, weight_uq_qr, weight_uk, weight_dkv_kr, rmsnorm_gamma_cq,
                  rmsnorm_gamma_ckv, rope_sin, rope_cos, kv_cache, kr_cache},
      .scales = {tensor_of(dequant_scale_x), tensor_of(dequant_scale_w_dq),
                 tensor_of(dequant_scale_w_uq_qr), tensor_of(dequant_scale_w_dkv_kr),
                 tensor_of(quant_scale_ckv), tensor_of(quant_scale_ckr),
                 tensor_of(smooth_scales_cq), tensor_of(k_nope_clip_alpha)},
      .cache_index = tensor_of(cache_index),
      .actual_seq_len = tensor_of(actual_seq_len),
      .epsilon_q = rmsnorm_epsilon_cq,
      .epsilon_k = rmsnorm_epsilon_ckv,
      .cache_mode = cache_mode,
      .gives_norm = query_norm_flag,
      .tile = tile_size,
      .query_factor = qc_qr_scale,
      .key_factor = kc_scale};
  set_modes(prolog, {weight_quant_mode, kv_cache_quant_mode, query_quant_mode, ckvkr_repo_mode,
                     quant_scale_repo_mode});
  return run(prolog);
}

using Seven =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Seven mla_prolog_v3_functional(
    const at::Tensor& token_x, const at::Tensor& weight_dq, const at::Tensor& weight_uq_qr,
    const at::Tensor& weight_uk, const at::Tensor& weight_dkv_kr,
    const at::Tensor& rmsnorm_gamma_cq, const at::Tensor& rmsnorm_gamma_ckv,
    const at::Tensor& rope_sin, const at::Tensor& rope_cos, const at::Tensor& kv_cache,
    const at::Tensor& kr_cache, const MaybeTensor& cache_index, const MaybeTensor& dequant_scale_x,
    const MaybeTensor& dequant_scale_w_dq, const MaybeTensor& dequant_scale_w_uq_qr,
    const MaybeTensor& dequant_scale_w_dkv_kr, const MaybeTensor& quant_scale_ckv,
    const MaybeTensor& quant_scale_ckr, const MaybeTensor& smooth_scales_cq,
    const MaybeTensor& actual_seq_len, const MaybeTensor& k_nope_clip_alpha,
    double rmsnorm_epsilon_cq, double rmsnorm_epsilon_ckv, c10::string_view cache_mode,
    bool query_norm_flag, std::int64_t weight_quant_mode, std::int64_t kv_cache_quant_mode,
    std::int64_t query_quant_mode, std::int64_t ckvkr_repo_mode, std::int64_t quant_scale_repo_mode,
    std::int64_t tile_size, double qc_qr_scale, double kc_scale,
    std::optional<std::int64_t> token_x_dtype, std::optional<std::int64_t> weight_dq_dtype,
    std::optional<std::int64_t> weight_uq_qr_dtype, std::optional<std::int64_t> weight_dkv_kr_dtype,
    std::optional<std::int64_t> kv_cache_dtype) {
  at::Tensor new_kv = kv_cache.clone(at::MemoryFormat::Contiguous);
  at::Tensor new_kr = kr_cache.clone(at::MemoryFormat::Contiguous);
  const Five out = mla_prolog_v3(
      token_x, weight_dq, weight_uq_qr, weight_uk, weight_dkv_kr, rmsnorm_gamma_cq,
      rmsnorm_gamma_ckv, rope_sin, rope_cos, new_kv, new_kr, cache_index, dequant_scale_x,
      dequant_scale_w_dq, dequant_scale_w_uq_qr, dequant_scale_w_dkv_kr, quant_scale_ckv,
      quant_scale_ckr, smooth_scales_cq, actual_seq_len, k_nope_clip_alpha, rmsnorm_epsilon_cq,
      rmsnorm_epsilon_ckv, cache_mode, query_norm_flag, weight_quant_mode, kv_cache_quant_mode,
      query_quant_mode, ckvkr_repo_mode, quant_scale_repo_mode, tile_size, qc_qr_scale, kc_scale,
      token_x_dtype, weight_dq_dtype, weight_uq_qr_dtype, weight_dkv_kr_dtype, kv_cache_dtype);
  return std::tuple_cat(out, std::make_tuple(new_kv, new_kr));
}

// What an Ascend 950 answers; npu_mla_prolog, an aclop kernel, is refused with the others of these.
Five mla_prolog_v2(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                   const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                   const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                   const MaybeTensor&, const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                   const MaybeTensor&, const MaybeTensor&, const MaybeTensor&, double, double,
                   c10::string_view) {
  TORCH_CHECK(false,
              "npu_mla_prolog_v2: expected a card with this kernel, got an Ascend 950, which ",
              "lacks it; use npu_mla_prolog_v3 (ERR01007 OPS feature not supported)");
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&mla_prolog_v3>(m, "npu_mla_prolog_v3");
  composed_kernel<&mla_prolog_v3_functional>(m, "npu_mla_prolog_v3_functional");
  composed_kernel<&mla_prolog_v2>(m, "npu_mla_prolog_v2");
}

}  // namespace
}  // namespace npu_sim::ops
