// npu_qkv_rms_norm_rope_cache and its functional form: a joint projection cut into q, k and v, q
// and k normalised and rotated, k and v written to caches of layout PA_NZ, quantised where scaled.
//
// qkv [B S, (Nq + Nk + Nv) D] by qkv_size [B, S, N, D] and head_nums; q_out [B S, Nq D]; caches
// [blocks, Nk D / piece, tokens, piece]; a value is round(value / scale + offset). Before-quant
// results are there with is_output_qkv. Source: op-plugin@517f2e7d, opapi and test.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rsqrt.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/cache/copied_first.h"
#include "ops/cache/paged.h"
#include "ops/cache/rotated_pairs.h"
#include "ops/cache/stored.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: rows of one head, normalised and rotated; of the caches only the tokens' rows.
model::Work cache_work(const aten::Call& call) {
  const at::Tensor& qkv = call.argument(0);
  const std::int64_t head = aten::elements_of(call.argument(1));
  model::RowWork work{.rows = aten::ratio(qkv.numel(), head),
                      .columns = head,
                      .compute = model::Format::kFp32,
                      .linear_ops = 9,
                      .reductions = 1,
                      .passes = 2};
  for (const std::size_t i : {0, 1, 2, 3, 4, 5}) work.read += aten::bytes_of(call.argument(i));
  work.written = aten::bytes_of(call.argument(6));
  const std::int64_t tokens = aten::size_along(qkv, 0);
  for (const std::size_t i : {7, 8}) {
    const at::Tensor& cache = call.argument(i);
    work.written += base::Bytes(tokens * aten::size_along(cache, 1) * aten::size_along(cache, 3) *
                                static_cast<std::int64_t>(cache.element_size()));
  }
  return work;
}
constexpr aten::Describer kCache[] = {cache_work};
constexpr aten::Entry kEntries[] = {
    {"npu_qkv_rms_norm_rope_cache", cache_work},
    {"npu_qkv_rms_norm_rope_cache_functional", copied_first<6, 7, 8>, kCache},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kOp = "npu_qkv_rms_norm_rope_cache";

struct Job {
  const at::Tensor& qkv;
  const at::Tensor& q_gamma;
  const at::Tensor& k_gamma;
  const at::Tensor& cos;
  const at::Tensor& sin;
  const at::Tensor& index;
  at::IntArrayRef size;   // B, S, N, D
  at::IntArrayRef heads;  // of q, k, v
  double epsilon = 0;
  [[nodiscard]] std::int64_t width() const { return size[3]; }
  [[nodiscard]] std::int64_t tokens() const { return qkv.size(0); }
};

struct Targets {
  at::Tensor& q_out;
  at::Tensor& k_cache;
  at::Tensor& v_cache;
  Quantisation k;
  Quantisation v;
};

void check_job(const Job& job) {
  TORCH_CHECK_VALUE(job.size.size() == 4 && job.heads.size() == 3, kOp,
                    ": expected qkv_size of 4 numbers and head_nums of 3, got ", job.size, " and ",
                    job.heads);
  const std::int64_t heads = job.heads[0] + job.heads[1] + job.heads[2];
  TORCH_CHECK_VALUE(job.size[0] >= 0 && job.size[1] >= 0 && job.width() > 0 &&
                        job.width() % 2 == 0 && job.heads[0] > 0 && job.heads[1] > 0 &&
                        job.heads[2] > 0 && job.size[2] == heads,
                    kOp, ": expected qkv_size of [batch, tokens, ", heads,
                    " heads of head_nums, an even width], got ", job.size);
  const std::int64_t tokens = job.size[0] * job.size[1];
  TORCH_CHECK_VALUE(
      job.qkv.dim() == 2 && job.qkv.size(0) == tokens && job.qkv.size(1) == heads * job.width(),
      kOp, ": expected qkv of [", tokens, ", ", heads * job.width(), "], got ", job.qkv.sizes());
  for (const at::Tensor* const x : {&job.q_gamma, &job.k_gamma}) {
    TORCH_CHECK_VALUE(x->dim() == 1 && x->size(0) == job.width(), kOp,
                      ": expected q_gamma and k_gamma of [", job.width(), "], got ", x->sizes());
  }
  for (const at::Tensor* const x : {&job.cos, &job.sin}) {
    TORCH_CHECK_VALUE(x->dim() == 2 && x->size(0) == tokens && x->size(1) == job.width(), kOp,
                      ": expected cos and sin of [", tokens, ", ", job.width(), "], got ",
                      x->sizes());
  }
  for (const at::Tensor* const x : {&job.qkv, &job.q_gamma, &job.k_gamma, &job.cos, &job.sin}) {
    TORCH_CHECK_TYPE(x->is_floating_point(), kOp,
                     ": expected qkv, gammas, cos and sin of a float dtype, got ",
                     x->scalar_type());
  }
  TORCH_CHECK_VALUE(job.index.numel() == tokens, kOp, ": expected index of [", tokens, "], got ",
                    job.index.sizes());
}

void check_cache(const Job& job, const char* argument, const at::Tensor& cache,
                 std::int64_t heads) {
  TORCH_CHECK_VALUE(cache.dim() == 4 && cache.size(1) * cache.size(3) == heads * job.width(), kOp,
                    ": expected ", argument, " of [blocks, pieces, tokens, piece] with rows of ",
                    heads * job.width(), ", got ", cache.sizes());
}

void check_targets(const Job& job, const Targets& to) {
  TORCH_CHECK_VALUE(to.q_out.dim() == 2 && to.q_out.size(0) == job.tokens() &&
                        to.q_out.size(1) == job.heads[0] * job.width(),
                    kOp, ": expected q_out of [", job.tokens(), ", ", job.heads[0] * job.width(),
                    "], got ", to.q_out.sizes());
  check_cache(job, "k_cache", to.k_cache, job.heads[1]);
  check_cache(job, "v_cache", to.v_cache, job.heads[2]);
  check_quantisation({kOp, "k_scale"}, to.k_cache, to.k, job.width());
  check_quantisation({kOp, "v_scale"}, to.v_cache, to.v, job.width());
  const auto of_heads = [&](const char* argument, const std::optional<at::Tensor>& scale,
                            std::int64_t heads) {
    const bool there = given(scale);
    TORCH_CHECK_VALUE(!there || scale->numel() == 1 || scale->numel() == heads * job.width(), kOp,
                      ": expected ", argument, " of [", heads, ", ", job.width(), "], got ",
                      there ? scale->sizes() : at::IntArrayRef{});
  };
  of_heads("k_scale", to.k.scale, job.heads[1]);
  of_heads("k_offset", to.k.offset, job.heads[1]);
  of_heads("v_scale", to.v.scale, job.heads[2]);
  of_heads("v_offset", to.v.offset, job.heads[2]);
}

// --- compute
void put(const Job& job, const char* argument, const at::Tensor& values, const at::Tensor& cache,
         const Quantisation& quantisation) {
  const ArgumentName name{.op = kOp, .argument = argument};
  const ArgumentName slots{.op = kOp, .argument = "index"};
  put_rows(slots, PagedCache(name, cache, shape_of_fractals(name, cache)),
           stored(name, values, cache, quantisation), integers_of(slots, job.index));
}

struct Heads {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

Heads heads_of(const Job& job) {
  const at::Tensor all = widened(job.qkv).view({job.tokens(), job.size[2], job.width()});
  const at::Tensor cos = widened(job.cos).unsqueeze(1);
  const at::Tensor sin = widened(job.sin).unsqueeze(1);
  const auto turned = [&](std::int64_t first, std::int64_t count, const at::Tensor& gamma) {
    const at::Tensor x = all.narrow(1, first, count);
    const at::Tensor y = x * at::rsqrt((x * x).mean(-1, true) + job.epsilon) * widened(gamma);
    return y * cos + turned_halves(y) * sin;
  };
  return {.q = turned(0, job.heads[0], job.q_gamma),
          .k = turned(job.heads[0], job.heads[1], job.k_gamma),
          .v = all.narrow(1, job.heads[0] + job.heads[1], job.heads[2])};
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// Results that is_output_qkv does not ask for are undefined (None).
Three run(const Job& job, const Targets& to, std::string_view cache_mode, bool outputs) {
  TORCH_CHECK_VALUE(cache_mode == "PA_NZ", kOp,
                    ": expected cache_mode PA_NZ, the only one of the card, got ", cache_mode);
  check_job(job);
  check_targets(job, to);
  const auto options = job.qkv.options();
  const auto shape = [&](std::size_t part) {
    return std::vector{job.tokens(), job.heads[part] * job.width()};
  };
  if (job.qkv.is_meta()) {
    if (!outputs) return {};
    return {at::empty(shape(0), options), at::empty(shape(1), options),
            at::empty(shape(2), options)};
  }
  const Heads heads = heads_of(job);
  to.q_out.copy_(heads.q.flatten(1));
  put(job, "k_cache", heads.k, to.k_cache, to.k);
  put(job, "v_cache", heads.v, to.v_cache, to.v);
  if (!outputs) return {};
  const auto out = [&](const at::Tensor& x) { return x.flatten(1).to(options.dtype()); };
  return {out(heads.q), out(heads.k), out(heads.v)};
}

Three qkv_rms_norm_rope_cache(const at::Tensor& qkv, const at::Tensor& q_gamma,
                              const at::Tensor& k_gamma, const at::Tensor& cos,
                              const at::Tensor& sin, const at::Tensor& index, at::Tensor& q_out,
                              at::Tensor& k_cache, at::Tensor& v_cache, at::IntArrayRef qkv_size,
                              at::IntArrayRef head_nums, const MaybeTensor& k_scale,
                              const MaybeTensor& v_scale, const MaybeTensor& k_offset,
                              const MaybeTensor& v_offset, double epsilon,
                              c10::string_view cache_mode, bool is_output_qkv) {
  return run({qkv, q_gamma, k_gamma, cos, sin, index, qkv_size, head_nums, epsilon},
             {q_out,
              k_cache,
              v_cache,
              {.scale = k_scale, .offset = k_offset, .dtype = std::nullopt, .divides = true},
              {.scale = v_scale, .offset = v_offset, .dtype = std::nullopt, .divides = true}},
             cache_mode, is_output_qkv);
}

using Six = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Six qkv_rms_norm_rope_cache_functional(const at::Tensor& qkv, const at::Tensor& q_gamma,
                                       const at::Tensor& k_gamma, const at::Tensor& cos,
                                       const at::Tensor& sin, const at::Tensor& index,
                                       const at::Tensor& q_out, const at::Tensor& k_cache,
                                       const at::Tensor& v_cache, at::IntArrayRef qkv_size,
                                       at::IntArrayRef head_nums, const MaybeTensor& k_scale,
                                       const MaybeTensor& v_scale, const MaybeTensor& k_offset,
                                       const MaybeTensor& v_offset, double epsilon,
                                       c10::string_view cache_mode, bool is_output_qkv) {
  at::Tensor new_q = q_out.clone(at::MemoryFormat::Contiguous);
  at::Tensor new_k = k_cache.clone(at::MemoryFormat::Contiguous);
  at::Tensor new_v = v_cache.clone(at::MemoryFormat::Contiguous);
  const auto [q, k, v] = qkv_rms_norm_rope_cache(
      qkv, q_gamma, k_gamma, cos, sin, index, new_q, new_k, new_v, qkv_size, head_nums, k_scale,
      v_scale, k_offset, v_offset, epsilon, cache_mode, is_output_qkv);
  return {q, k, v, new_q, new_k, new_v};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&qkv_rms_norm_rope_cache>(m, "npu_qkv_rms_norm_rope_cache");
  composed_kernel<&qkv_rms_norm_rope_cache_functional>(m, "npu_qkv_rms_norm_rope_cache_functional");
}

}  // namespace
}  // namespace npu_sim::ops
