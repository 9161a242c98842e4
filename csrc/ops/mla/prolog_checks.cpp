#include <c10/util/Exception.h>

#include "ops/mla/prolog.h"
#include "ops/mla/rows.h"

namespace npu_sim::ops {
namespace {

struct Named {
  const char* name;
  const at::Tensor& tensor;
};

void expect(const Prolog& prolog, const Named& named, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(named.tensor.defined(), prolog.op, ": expected ", named.name, " of ", sizes,
                    ", got None");
  TORCH_CHECK_VALUE(named.tensor.sizes() == sizes, prolog.op, ": expected ", named.name, " of ",
                    sizes, ", got ", named.tensor.sizes());
}

void expect_dtype(const Prolog& prolog, const Named& named, at::ScalarType dtype) {
  TORCH_CHECK_TYPE(named.tensor.scalar_type() == dtype, prolog.op, ": expected ", named.name,
                   " of ", dtype, ", got ", named.tensor.scalar_type());
}

// Tokens as the leading axes of x have them, then `width`.
std::vector<std::int64_t> token_sizes(const Prolog& prolog, std::int64_t width) {
  std::vector<std::int64_t> sizes = prolog.tensors.x.sizes().vec();
  sizes.back() = width;
  return sizes;
}

void check_ranks(const Prolog& prolog) {
  const PrologTensors& t = prolog.tensors;
  TORCH_CHECK_VALUE(t.x.dim() == 2 || t.x.dim() == 3, prolog.op,
                    ": expected token_x of 2 or 3 axes, got ", t.x.sizes());
  TORCH_CHECK_VALUE(t.absorb.dim() == 3, prolog.op, ": expected weight_uk of 3 axes, got ",
                    t.absorb.sizes());
  TORCH_CHECK_VALUE(t.sin.dim() == t.x.dim(), prolog.op, ": expected rope_sin of ", t.x.dim(),
                    " axes, as token_x has, got ", t.sin.sizes());
  TORCH_CHECK_VALUE(t.down.dim() == 2, prolog.op, ": expected weight_dq of [", t.x.size(-1),
                    ", latent width of queries], got ", t.down.sizes());
  TORCH_CHECK_VALUE(prolog.rope() > 0 && prolog.rope() % 2 == 0, prolog.op,
                    ": expected rope_sin of an even width, got ", t.sin.sizes());
  TORCH_CHECK_VALUE(t.x.size(-1) > 0 && t.down.size(1) > 0 && t.absorb.numel() > 0, prolog.op,
                    ": expected token_x, weight_dq and weight_uk of positive widths, got ",
                    t.x.sizes(), ", ", t.down.sizes(), " and ", t.absorb.sizes());
}

void check_shapes(const Prolog& prolog) {
  const PrologTensors& t = prolog.tensors;
  const std::int64_t hidden = t.x.size(-1);
  const std::int64_t down = t.down.size(1);
  expect(prolog, {"weight_dq", t.down}, {hidden, down});
  expect(prolog, {"weight_uq_qr", t.up}, {down, prolog.heads() * (prolog.nope() + prolog.rope())});
  expect(prolog, {"weight_dkv_kr", t.keys}, {hidden, prolog.latent() + prolog.rope()});
  expect(prolog, {"rmsnorm_gamma_cq", t.gamma_q}, {down});
  expect(prolog, {"rmsnorm_gamma_ckv", t.gamma_k}, {prolog.latent()});
  const std::vector<std::int64_t> angles = token_sizes(prolog, prolog.rope());
  expect(prolog, {"rope_sin", t.sin}, angles);
  expect(prolog, {"rope_cos", t.cos}, angles);
}

void check_dtypes(const Prolog& prolog) {
  const PrologTensors& t = prolog.tensors;
  const at::ScalarType narrow =
      prolog.weights == WeightQuant::kNone ? at::kBFloat16 : carrier(prolog.element());
  const at::ScalarType outer = prolog.quantises_all() ? narrow : at::kBFloat16;
  expect_dtype(prolog, {"token_x", t.x}, outer);
  expect_dtype(prolog, {"weight_dq", t.down}, outer);
  expect_dtype(prolog, {"weight_uq_qr", t.up}, narrow);
  expect_dtype(prolog, {"weight_dkv_kr", t.keys}, outer);
  for (const Named& named : {Named{"weight_uk", t.absorb}, Named{"rmsnorm_gamma_cq", t.gamma_q},
                             Named{"rmsnorm_gamma_ckv", t.gamma_k}, Named{"rope_sin", t.sin},
                             Named{"rope_cos", t.cos}}) {
    expect_dtype(prolog, named, at::kBFloat16);
  }
}

void check_scales(const Prolog& prolog) {
  const PrologTensors& t = prolog.tensors;
  const PrologScales& s = prolog.scales;
  const std::int64_t hidden = t.x.size(-1);
  const std::int64_t down = t.down.size(1);
  if (prolog.weights == WeightQuant::kMxFp8) {
    TORCH_CHECK_VALUE(hidden % kMxBlock == 0 && down % kMxBlock == 0, prolog.op,
                      ": expected widths divisible by 32 in weight_quant_mode 3, got ", hidden,
                      " and ", down);
    expect(prolog, {"dequant_scale_x", s.x}, {prolog.tokens(), hidden / kMxBlock});
    expect(prolog, {"dequant_scale_w_dq", s.down}, {down, hidden / kMxBlock});
    expect(prolog, {"dequant_scale_w_uq_qr", s.up}, {t.up.size(1), down / kMxBlock});
    expect(prolog, {"dequant_scale_w_dkv_kr", s.keys}, {t.keys.size(1), hidden / kMxBlock});
    for (const Named& named :
         {Named{"dequant_scale_x", s.x}, Named{"dequant_scale_w_dq", s.down},
          Named{"dequant_scale_w_uq_qr", s.up}, Named{"dequant_scale_w_dkv_kr", s.keys}}) {
      expect_dtype(prolog, named, at::kFloat8_e8m0fnu);
    }
    return;
  }
  if (prolog.weights != WeightQuant::kNone) {
    expect(prolog, {"dequant_scale_w_uq_qr", s.up}, {1, t.up.size(1)});
    if (s.smooth.defined()) expect(prolog, {"smooth_scales_cq", s.smooth}, {1, down});
  }
  if (!prolog.quantises_all()) return;
  expect(prolog, {"dequant_scale_x", s.x}, {prolog.tokens(), 1});
  expect(prolog, {"dequant_scale_w_dq", s.down}, {1, down});
  expect(prolog, {"dequant_scale_w_dkv_kr", s.keys}, {1, t.keys.size(1)});
}

// Bytes of a token in kv_cache, by the modes.
std::int64_t cached_width(const Prolog& prolog) {
  if (prolog.cache != CacheQuant::kTile) return prolog.latent();
  constexpr std::int64_t kRopeBytes = 2;  // bf16
  constexpr std::int64_t kScaleBytes = 4;
  return prolog.latent() + prolog.rope() * kRopeBytes + prolog.latent() / prolog.tile * kScaleBytes;
}

void check_cache_scales(const Prolog& prolog) {
  const PrologScales& s = prolog.scales;
  if (prolog.cache == CacheQuant::kTensor) expect(prolog, {"quant_scale_ckv", s.ckv}, {1});
  if (prolog.cache == CacheQuant::kChannel) {
    expect(prolog, {"quant_scale_ckv", s.ckv}, {1, prolog.latent()});
    expect(prolog, {"quant_scale_ckr", s.ckr}, {1, prolog.rope()});
  }
  if (prolog.cache == CacheQuant::kTile) {
    TORCH_CHECK_VALUE(prolog.tile > 0 && prolog.latent() % prolog.tile == 0, prolog.op,
                      ": expected tile_size that divides ", prolog.latent(), ", got ", prolog.tile);
  }
}

void check_caches(const Prolog& prolog) {
  const PrologTensors& t = prolog.tensors;
  const std::int64_t axes = prolog.cache_mode == "TND" ? 3 : 4;
  const auto check = [&](const Named& named, std::int64_t width) {
    TORCH_CHECK_VALUE(
        named.tensor.dim() == axes && named.tensor.size(-2) == 1 && named.tensor.size(-1) == width,
        prolog.op, ": expected ", named.name, " of ", axes, " axes, the last two of [1, ", width,
        "], in cache_mode ", prolog.cache_mode, ", got ", named.tensor.sizes());
  };
  check({"kv_cache", t.kv_cache}, cached_width(prolog));
  // Where a token's parts lie together, kr_cache is not touched.
  if (prolog.cache != CacheQuant::kTile) check({"kr_cache", t.kr_cache}, prolog.rope());
  const bool narrow = prolog.cache != CacheQuant::kNone;
  expect_dtype(prolog, {"kv_cache", t.kv_cache},
               narrow ? carrier(prolog.element()) : at::kBFloat16);
  if (prolog.cache != CacheQuant::kTile) {
    expect_dtype(prolog, {"kr_cache", t.kr_cache},
                 prolog.cache == CacheQuant::kChannel ? at::kChar : at::kBFloat16);
  }
}

void check_index(const Prolog& prolog) {
  const std::string_view mode = prolog.cache_mode;
  const PrologTensors& t = prolog.tensors;
  if (mode == "BSND" || mode == "TND") {
    TORCH_CHECK_VALUE(t.x.dim() == (mode == "TND" ? 2 : 3), prolog.op, ": expected token_x of ",
                      mode == "TND" ? 2 : 3, " axes in cache_mode ", mode, ", got ", t.x.sizes());
    const std::int64_t held = t.kv_cache.size(0) * (mode == "TND" ? 1 : t.kv_cache.size(1));
    TORCH_CHECK_VALUE(held == prolog.tokens(), prolog.op, ": expected kv_cache of ",
                      prolog.tokens(), " tokens in cache_mode ", mode, ", got ",
                      t.kv_cache.sizes());
    return;
  }
  const bool known =
      mode == "PA_BSND" || mode == "PA_NZ" || mode == "PA_BLK_BSND" || mode == "PA_BLK_NZ";
  TORCH_CHECK_VALUE(known, prolog.op, ": expected cache_mode PA_BSND, PA_NZ, PA_BLK_BSND, ",
                    "PA_BLK_NZ, BSND or TND, got ", mode);
  TORCH_CHECK_VALUE(prolog.cache_index.defined(), prolog.op,
                    ": expected cache_index in cache_mode ", mode, ", got None");
  if (mode == "PA_BSND" || mode == "PA_NZ") {
    TORCH_CHECK_VALUE(prolog.cache_index.numel() == prolog.tokens(), prolog.op,
                      ": expected cache_index of ", prolog.tokens(), " slots, got ",
                      prolog.cache_index.sizes());
  } else if (t.x.dim() == 2) {
    TORCH_CHECK_VALUE(prolog.actual_seq_len.defined(), prolog.op,
                      ": expected actual_seq_len with a token_x of 2 axes in cache_mode ", mode,
                      ", got None");
  }
}

}  // namespace

compute::Element Prolog::element() const {
  switch (weights) {
    case WeightQuant::kMxFp8:
    case WeightQuant::kFp8: return compute::Element::kE4m3;
    case WeightQuant::kHifloat8: return compute::Element::kHifloat8;
    case WeightQuant::kNone:
    case WeightQuant::kUpInt8:
    case WeightQuant::kInt8: return compute::Element::kInt8;
  }
  return compute::Element::kInt8;
}

void set_modes(Prolog& prolog, const PrologModes& modes) {
  TORCH_CHECK_VALUE(modes.weight_quant >= 0 && modes.weight_quant <= 5, prolog.op,
                    ": expected weight_quant_mode in [0, 5], got ", modes.weight_quant);
  TORCH_CHECK_VALUE(modes.cache_quant >= 0 && modes.cache_quant <= 3, prolog.op,
                    ": expected kv_cache_quant_mode in [0, 3], got ", modes.cache_quant);
  prolog.weights = static_cast<WeightQuant>(modes.weight_quant);
  prolog.cache = static_cast<CacheQuant>(modes.cache_quant);
  const bool fits =
      prolog.cache == CacheQuant::kNone ||
      (prolog.weights == WeightQuant::kUpInt8 && prolog.cache != CacheQuant::kTensor) ||
      (prolog.quantises_all() && prolog.cache != CacheQuant::kChannel);
  TORCH_CHECK_VALUE(fits, prolog.op, ": expected kv_cache_quant_mode 0, 2 or 3 with ",
                    "weight_quant_mode 1, 0, 1 or 3 with 2 to 5, and 0 with 0, got ",
                    modes.cache_quant, " with ", modes.weight_quant);
  TORCH_CHECK_VALUE(modes.query_quant == (prolog.quantises_query() ? 1 : 0), prolog.op,
                    ": expected query_quant_mode ", prolog.quantises_query() ? 1 : 0,
                    " with these weights and caches, got ", modes.query_quant);
  const std::int64_t together = prolog.cache == CacheQuant::kTile ? 1 : 0;
  TORCH_CHECK_VALUE(modes.repo == together && modes.scale_repo == together, prolog.op,
                    ": expected ckvkr_repo_mode and quant_scale_repo_mode ", together,
                    " with kv_cache_quant_mode ", modes.cache_quant, ", got ", modes.repo, " and ",
                    modes.scale_repo);
}

void check_prolog(const Prolog& prolog) {
  check_ranks(prolog);
  check_shapes(prolog);
  check_dtypes(prolog);
  check_scales(prolog);
  check_cache_scales(prolog);
  check_caches(prolog);
  check_index(prolog);
}

}  // namespace npu_sim::ops
