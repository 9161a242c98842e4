// Keys of the MLA prolog into their caches.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "ops/cache/paged.h"
#include "ops/cache/stored.h"
#include "ops/format/coded.h"
#include "ops/mla/prolog.h"
#include "ops/mla/rows.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

bool is_fractal(const Prolog& prolog) { return prolog.cache_mode.ends_with("NZ"); }

// Slots of tokens by pages: the first page number of each sequence, then the next.
Integers slots_by_page(const Prolog& prolog, const Integers& pages, std::int64_t tokens) {
  const PrologTensors& t = prolog.tensors;
  Integers lengths;
  if (t.x.dim() == 3) {
    lengths.assign(static_cast<std::size_t>(t.x.size(0)), t.x.size(1));
  } else {
    const ArgumentName name{.op = prolog.op, .argument = "actual_seq_len"};
    for (const Sequence& sequence :
         query_sequences(name, t.x, "TND", integers_of(name, prolog.actual_seq_len))) {
      lengths.push_back(sequence.length);
    }
  }
  Integers slots;
  std::size_t first = 0;
  for (const std::int64_t length : lengths) {
    const auto used = static_cast<std::size_t>(tokens == 0 ? 0 : (length + tokens - 1) / tokens);
    TORCH_CHECK_VALUE(first + used <= pages.size(), prolog.op, ": expected cache_index of ",
                      first + used, " pages or more, got ", pages.size());
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t page = pages[first + static_cast<std::size_t>(i / tokens)];
      slots.push_back(page < 0 ? -1 : page * tokens + i % tokens);
    }
    first += used;
  }
  // Tokens after the last sequence belong to none.
  slots.resize(static_cast<std::size_t>(prolog.tokens()), -1);
  return slots;
}

Integers slots_of(const Prolog& prolog, std::int64_t tokens) {
  if (!prolog.cache_mode.starts_with("PA")) {
    Integers slots;
    for (std::int64_t i = 0; i < prolog.tokens(); ++i) slots.push_back(i);
    return slots;
  }
  const Integers index =
      integers_of({.op = prolog.op, .argument = "cache_index"}, prolog.cache_index);
  return prolog.cache_mode.starts_with("PA_BLK") ? slots_by_page(prolog, index, tokens) : index;
}

// Raw bytes of `rows` into the cache `argument`.
void put(const Prolog& prolog, const char* argument, const at::Tensor& cache,
         const at::Tensor& rows) {
  const ArgumentName name{.op = prolog.op, .argument = argument};
  const at::Tensor blocks = cache.dim() == 3 ? cache.unsqueeze(1) : cache;
  const CacheShape shape = shape_of_blocks(
      name, blocks, is_fractal(prolog) ? CacheLayout::kFractal : CacheLayout::kRows);
  put_rows({.op = prolog.op, .argument = "cache_index"}, PagedCache(name, blocks, shape),
           rows.contiguous(), slots_of(prolog, shape.tokens));
}

// Latent codes of each tile, the rope part and the tiles' scales, as bytes.
at::Tensor tiled_row(const Prolog& prolog, const at::Tensor& latent, const at::Tensor& rope) {
  const double clip =
      prolog.scales.clip.defined() ? prolog.scales.clip.flatten()[0].item<double>() : 1;
  const QuantisedRows tiles =
      quantised_rows(prolog.op, latent.unflatten(-1, {latent.size(-1) / prolog.tile, prolog.tile}),
                     prolog.element(), clip);
  return at::cat(
      {tiles.codes.flatten(-2).view(at::kByte), rope.to(at::kBFloat16).contiguous().view(at::kByte),
       tiles.scale.flatten(-2).contiguous().view(at::kByte)},
      -1);
}

}  // namespace

void store_keys(const Prolog& prolog, const at::Tensor& latent, const at::Tensor& rope) {
  const PrologTensors& t = prolog.tensors;
  if (prolog.tokens() == 0) return;
  if (prolog.cache == CacheQuant::kTile) {
    put(prolog, "kv_cache", t.kv_cache, tiled_row(prolog, latent, rope));
    return;
  }
  const compute::Rounding rounding = prolog.weights == WeightQuant::kHifloat8
                                         ? compute::Rounding::kRound
                                         : compute::Rounding::kRint;
  const bool by_channel = prolog.cache == CacheQuant::kChannel;
  put(prolog, "kv_cache", t.kv_cache,
      prolog.cache == CacheQuant::kNone
          ? latent.to(at::kBFloat16)
          : encoded(prolog.op, latent * widened(prolog.scales.ckv), prolog.element(), rounding));
  put(prolog, "kr_cache", t.kr_cache,
      by_channel ? encoded(prolog.op, rope * widened(prolog.scales.ckr), prolog.element(), rounding)
                 : rope.to(at::kBFloat16));
}

}  // namespace npu_sim::ops
