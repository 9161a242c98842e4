// compressor and quant_compressor: keys of `cmp_ratio` tokens made one.
//
//   kv = x wkv^T, score = x wgate^T + ape[position mod ratio]         fp32, kept in state_cache
//   key of a window = sum over its tokens of softmax(score) kv, a softmax for each channel
//
// With coff 2 both have two series of channels: a window takes the second of its own tokens and the
// first of the window before it (none before the first window). compressor then takes the RMS norm
// of the key and rotates its last rope_head_dim channels as interleaved pairs. state_cache [blocks,
// tokens, kv and score]: a token's row lies in block state_block_table[sequence, position /
// tokens]; rows of block 0 are not written. Results of TND follow each other, then come zeros,
// where the card leaves memory as it was.
//
// Sources: cann-recipes-infer@fbc225d, ops/ascendc/docs/custom-npu_compressor.md and
// torch_ops_extension; vllm-ascend@182b75e, csrc/attention/compressor/op_kernel/arch35.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <string>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/extension/compressed_spans.h"
#include "ops/extension/registration.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/norm/rms_norm.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: both products at once; then the states are written, and the windows that are full read
// theirs back, a softmax and a sum a channel. Two kernels, although the card fuses them.
model::Work product_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const at::Tensor& weight = call.argument(1);
  const bool hifloat8 = x.scalar_type() == at::kByte;
  const model::Format format = hifloat8 ? model::Format::kHif8 : aten::format_of(x);
  return model::MatmulWork{.m = aten::ratio(aten::elements_of(x), aten::size_along(x, -1)),
                           .n = 2 * aten::size_along(weight, 0),
                           .k = aten::size_along(weight, 1),
                           .a = format,
                           .b = format,
                           .out = model::Format::kFp32,
                           .b_transposed = true};
}

template <std::size_t ape>
model::Work windows_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const std::int64_t tokens = aten::ratio(aten::elements_of(x), aten::size_along(x, -1));
  const std::int64_t channels = aten::size_along(aten::tensor_at(call, ape), 1);
  const base::Bytes states{tokens * channels * 2 * static_cast<std::int64_t>(sizeof(float))};
  return model::RowWork{.rows = tokens,
                        .columns = channels,
                        .read = states + aten::bytes_of(aten::tensor_at(call, ape)),
                        .written = states + aten::bytes_of(call.result(0)),
                        .linear_ops = 8,
                        .special_ops = 2,
                        .reductions = 0};
}
constexpr aten::Describer kThenWindows[] = {windows_work<4>};
constexpr aten::Entry kEntries[] = {
    {"custom::compressor", product_work, kThenWindows},
    {"custom::quant_compressor", product_work, kThenWindows},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
struct Compressor {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& wkv;
  const at::Tensor& wgate;
  const at::Tensor& state_cache;
  const at::Tensor& ape;
  const MaybeTensor& state_block_table;
  const MaybeTensor& cu_seqlens;
  const MaybeTensor& seqused;
  const MaybeTensor& start_pos;
  std::int64_t ratio;
  std::int64_t coff;

  [[nodiscard]] std::int64_t width() const { return wkv.size(0) / coff; }
  [[nodiscard]] bool flat() const { return x.dim() == 2; }
  [[nodiscard]] std::int64_t sequences() const {
    return flat() ? cu_seqlens->size(0) - 1 : x.size(0);
  }
  // Keys that a sequence in layout BSH may get, or all in TH.
  [[nodiscard]] std::int64_t keys() const {
    if (!flat()) return (x.size(1) + ratio - 1) / ratio;
    return std::min(x.size(0), x.size(0) / ratio + sequences());
  }
};

void check_fp32(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kFloat, op, ": expected ", argument,
                   " of float32, got ", tensor.scalar_type());
}

void check_weights(const Compressor& on) {
  const std::int64_t hidden = on.x.size(-1);
  TORCH_CHECK_VALUE(on.wkv.dim() == 2 && on.wkv.numel() > 0 && on.wkv.size(0) % on.coff == 0 &&
                        on.wkv.size(1) == hidden,
                    on.op, ": expected wkv of [coff width, ", hidden, "], got ", on.wkv.sizes());
  TORCH_CHECK_VALUE(on.wgate.sizes() == on.wkv.sizes(), on.op, ": expected wgate of wkv's shape ",
                    on.wkv.sizes(), ", got ", on.wgate.sizes());
  TORCH_CHECK_TYPE(
      on.wkv.scalar_type() == on.x.scalar_type() && on.wgate.scalar_type() == on.x.scalar_type(),
      on.op, ": expected wkv and wgate of x's ", on.x.scalar_type(), ", got ", on.wkv.scalar_type(),
      " and ", on.wgate.scalar_type());
  TORCH_CHECK_VALUE(on.ape.sizes() == (at::IntArrayRef{on.ratio, on.wkv.size(0)}), on.op,
                    ": expected ape of [", on.ratio, ", ", on.wkv.size(0), "], got ",
                    on.ape.sizes());
  check_fp32(on.op, "ape", on.ape);
}

void check_states(const Compressor& on) {
  const at::Tensor& states = on.state_cache;
  TORCH_CHECK_VALUE(states.dim() == 3 && states.size(1) > 0 && states.size(2) == 2 * on.wkv.size(0),
                    on.op, ": expected state_cache of [blocks, tokens, ", 2 * on.wkv.size(0),
                    "], got ", states.sizes());
  check_fp32(on.op, "state_cache", states);
  TORCH_CHECK_VALUE(states.numel() == 0 || states.select(0, 0).is_contiguous(), on.op,
                    ": expected state_cache with contiguous blocks, got strides ",
                    states.strides());
}

void check(const Compressor& on, std::int64_t cache_mode) {
  TORCH_CHECK_VALUE(on.x.dim() == 2 || on.x.dim() == 3, on.op,
                    ": expected x of [tokens, hidden] or [batch, tokens, hidden], got ",
                    on.x.sizes());
  TORCH_CHECK_VALUE(on.coff == 1 || on.coff == 2, on.op, ": expected coff of 1 or 2, got ",
                    on.coff);
  TORCH_CHECK_VALUE((on.ratio == 4 && on.coff == 2) || (on.ratio == 128 && on.coff == 1), on.op,
                    ": expected cmp_ratio 4 with coff 2 or cmp_ratio 128 with coff 1, got ",
                    on.ratio, " with ", on.coff);
  TORCH_CHECK_NOT_IMPLEMENTED(cache_mode != 2, on.op,
                              ": cache_mode 2 (a ring of states) is not built yet");
  TORCH_CHECK_VALUE(cache_mode == 1, on.op, ": expected cache_mode 1, got ", cache_mode);
  TORCH_CHECK_VALUE(given(on.cu_seqlens) == on.flat(), on.op, ": expected cu_seqlens ",
                    on.flat() ? "of [sequences + 1] for x of two axes, got None"
                              : "to be None for x of three axes");
  TORCH_CHECK_VALUE(!on.flat() || (on.cu_seqlens->dim() == 1 && on.cu_seqlens->size(0) > 0), on.op,
                    ": expected cu_seqlens of [sequences + 1], got ",
                    on.flat() ? on.cu_seqlens->sizes() : at::IntArrayRef{});
  check_weights(on);
  check_states(on);
}

// --- compute
struct Run {
  std::int64_t row = 0;    // of its first token in x
  std::int64_t start = 0;  // position of that token
  std::int64_t used = 0;   // tokens
};

Integers of_sequences(const Compressor& on, const char* argument, const MaybeTensor& tensor,
                      const Integers& otherwise) {
  const Integers values =
      integers_if_given({.op = on.op, .argument = argument}, tensor).value_or(otherwise);
  TORCH_CHECK_VALUE(values.size() == otherwise.size(), on.op, ": expected ", argument, " of ",
                    otherwise.size(), " sequences, got ", values.size());
  return values;
}

std::vector<Run> runs_of(const Compressor& on) {
  const std::vector<Sequence> sequences =
      sequences_from_zero({on.op, "cu_seqlens"}, on.x, on.flat() ? "TND" : "BSND", on.cu_seqlens);
  Integers lengths;
  for (const Sequence& sequence : sequences) lengths.push_back(sequence.length);
  const Integers used = of_sequences(on, "seqused", on.seqused, lengths);
  const Integers starts = of_sequences(on, "start_pos", on.start_pos, Integers(lengths.size(), 0));
  std::vector<Run> runs;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    TORCH_CHECK_VALUE(used[i] >= 0 && used[i] <= lengths[i], on.op, ": expected seqused in [0, ",
                      lengths[i], "], got ", used[i]);
    TORCH_CHECK_VALUE(starts[i] >= 0, on.op, ": expected start_pos of 0 or more, got ", starts[i]);
    runs.push_back({.row = sequences[i].first, .start = starts[i], .used = used[i]});
  }
  return runs;
}

// Rows of the states at their places. Without a table nothing is kept.
class States {
 public:
  explicit States(const Compressor& on) : op_(on.op), cache_(on.state_cache) {
    if (!given(on.state_block_table)) return;
    const at::Tensor& table = *on.state_block_table;
    TORCH_CHECK_VALUE(table.dim() == 2 && table.size(0) == on.sequences(), op_,
                      ": expected state_block_table of [", on.sequences(), ", blocks], got ",
                      table.sizes());
    columns_ = table.size(1);
    blocks_ = integers_of({.op = op_, .argument = "state_block_table"}, table);
  }

  // Writes rows [positions, kv and score] from `start` on, those of block 0 left out.
  void put(std::int64_t sequence, std::int64_t start, const at::Tensor& rows) const {
    if (!kept()) return;
    Integers from;
    Integers to;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const std::int64_t place = place_of(sequence, start + i);
      if (place < tokens()) continue;  // in block 0
      from.push_back(i);
      to.push_back(place);
    }
    if (from.empty()) return;
    const at::Tensor places = at::tensor(to, at::kLong);
    cache_.index_put_({places.floor_divide(tokens()), places.remainder(tokens())},
                      rows.index_select(0, at::tensor(from, at::kLong)));
  }

  [[nodiscard]] at::Tensor get(std::int64_t sequence, std::int64_t first, std::int64_t last) const {
    TORCH_CHECK_VALUE(kept() || first >= last, op_,
                      ": expected state_block_table where a window began in an earlier call, got "
                      "None");
    Integers places;
    for (std::int64_t i = first; i < last; ++i) places.push_back(place_of(sequence, i));
    const at::Tensor at = at::tensor(places, at::kLong);
    return cache_.index({at.floor_divide(tokens()), at.remainder(tokens())});
  }

 private:
  [[nodiscard]] bool kept() const { return !blocks_.empty(); }
  [[nodiscard]] std::int64_t tokens() const { return cache_.size(1); }

  [[nodiscard]] std::int64_t place_of(std::int64_t sequence, std::int64_t position) const {
    const std::int64_t column = position / tokens();
    TORCH_CHECK_VALUE(column < columns_, op_, ": expected state_block_table with a column for ",
                      "position ", position, " in blocks of ", tokens(), ", got ", columns_);
    const std::int64_t block = blocks_[static_cast<std::size_t>(sequence * columns_ + column)];
    TORCH_CHECK_INDEX(block >= 0 && block < cache_.size(0), op_,
                      ": expected state_block_table with blocks in [0, ", cache_.size(0), "), got ",
                      block);
    return block * tokens() + position % tokens();
  }

  const char* op_;
  const at::Tensor& cache_;
  Integers blocks_;
  std::int64_t columns_ = 0;
};

// The windows' tokens [windows, tokens of a key, width] of one series of channels each.
at::Tensor windowed(const at::Tensor& rows, const Compressor& on, bool first_of_all,
                    double before_all) {
  const std::int64_t width = on.width();
  const at::Tensor windows = rows.unflatten(0, {rows.size(0) / on.ratio, on.ratio});
  if (on.coff == 1) return windows;
  at::Tensor before = windows.narrow(-1, 0, width);
  if (first_of_all) {
    const at::Tensor none = at::full({1, on.ratio, width}, before_all, rows.options());
    before = at::cat({none, before});
  }
  const std::int64_t own = windows.size(0) - (first_of_all ? 0 : 1);
  return at::cat({before.narrow(0, 0, own),
                  windows.narrow(0, windows.size(0) - own, own).narrow(-1, width, width)},
                 1);
}

// Keys [windows, width] of the windows that end in this run; its states are written.
at::Tensor keys_of(const Compressor& on, const States& states, std::int64_t sequence,
                   const Run& run, const at::Tensor& rows) {
  states.put(sequence, run.start, rows);
  const std::int64_t first = run.start / on.ratio;
  const std::int64_t last = (run.start + run.used) / on.ratio;
  if (first == last) return at::empty({0, on.width()}, rows.options());
  const bool overlaps = on.coff == 2 && first > 0;
  const std::int64_t begin = (first - (overlaps ? 1 : 0)) * on.ratio;
  const at::Tensor older = states.get(sequence, begin, run.start);
  const at::Tensor all = at::cat({older, rows.narrow(0, 0, last * on.ratio - run.start)});
  const auto [kv, score] =
      std::pair(all.narrow(1, 0, on.wkv.size(0)), all.narrow(1, on.wkv.size(0), on.wkv.size(0)));
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  const at::Tensor share = at::softmax(windowed(score, on, first == 0, kNever), 1);
  return (share * windowed(kv, on, first == 0, 0)).sum(1);
}

// `kv` and `gate`: the products [tokens, coff width] in fp32.
std::vector<at::Tensor> keys_of_all(const Compressor& on, const at::Tensor& kv,
                                    const at::Tensor& gate) {
  const States states(on);
  std::vector<at::Tensor> keys;
  const std::vector<Run> runs = runs_of(on);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    Integers places(static_cast<std::size_t>(run.used));
    for (std::int64_t j = 0; j < run.used; ++j) {
      places[static_cast<std::size_t>(j)] = (run.start + j) % on.ratio;
    }
    const at::Tensor score =
        gate.narrow(0, run.row, run.used) + on.ape.index_select(0, at::tensor(places, at::kLong));
    keys.push_back(keys_of(on, states, static_cast<std::int64_t>(i), run,
                           at::cat({kv.narrow(0, run.row, run.used), score}, 1)));
  }
  return keys;
}

std::vector<std::int64_t> result_sizes(const Compressor& on, std::int64_t width) {
  if (on.flat()) return {on.keys(), width};
  return {on.x.size(0), on.keys(), width};
}

// Keys of each sequence at their places in the result, zeros elsewhere. `finish(keys, sequence,
// first)` is what becomes of keys whose place in the result is `first` on.
template <class Finish>
at::Tensor placed(const Compressor& on, const std::vector<at::Tensor>& keys, at::ScalarType dtype,
                  const Finish& finish) {
  const at::Tensor out = at::zeros(result_sizes(on, on.width()), on.ape.options().dtype(dtype));
  std::int64_t first = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::int64_t count = keys[i].size(0);
    const at::Tensor row = on.flat() ? out : out.select(0, static_cast<std::int64_t>(i));
    TORCH_CHECK_VALUE(first + count <= row.size(0), on.op, ": expected sequences whose windows ",
                      "give at most ", row.size(0), " keys, got ", first + count);
    if (count > 0) {
      row.narrow(0, first, count).copy_(finish(keys[i], static_cast<std::int64_t>(i), first));
    }
    if (on.flat()) first += count;
  }
  return out;
}

// Interleaved pairs (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin).
at::Tensor rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor pairs = x.unflatten(-1, {x.size(-1) / 2, 2});
  const at::Tensor turned = at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
  return x * cos + turned * sin;
}

struct Ending {
  const at::Tensor& norm_weight;
  const at::Tensor& sin;
  const at::Tensor& cos;
  std::int64_t rope;
  double eps;
};

void check_ending(const Compressor& on, const Ending& ending, std::int64_t rotary_mode) {
  TORCH_CHECK_VALUE(rotary_mode == 2, on.op,
                    ": expected rotary_mode 2 (interleave), the only one of the card, got ",
                    rotary_mode);
  TORCH_CHECK_VALUE(ending.rope > 0 && ending.rope % 2 == 0 && ending.rope <= on.width(), on.op,
                    ": expected an even rope_head_dim up to the width ", on.width(), ", got ",
                    ending.rope);
  TORCH_CHECK_VALUE(ending.norm_weight.sizes() == at::IntArrayRef{on.width()}, on.op,
                    ": expected norm_weight of [", on.width(), "], got ",
                    ending.norm_weight.sizes());
  const std::vector<std::int64_t> sizes = result_sizes(on, ending.rope);
  TORCH_CHECK_VALUE(ending.sin.sizes() == sizes && ending.cos.sizes() == sizes, on.op,
                    ": expected rope_sin and rope_cos of ", at::IntArrayRef(sizes), ", got ",
                    ending.sin.sizes(), " and ", ending.cos.sizes());
  check_fp32(on.op, "norm_weight", ending.norm_weight);
  check_fp32(on.op, "rope_sin", ending.sin);
  check_fp32(on.op, "rope_cos", ending.cos);
}

at::Tensor normed_and_rotated(const Compressor& on, const Ending& ending, const at::Tensor& keys,
                              std::int64_t sequence, std::int64_t first) {
  const auto angles = [&](const at::Tensor& x) {
    return (on.flat() ? x : x.select(0, sequence)).narrow(0, first, keys.size(0));
  };
  const at::Tensor y = normalize_rms(keys, ending.norm_weight, ending.eps).y;
  const std::int64_t nope = on.width() - ending.rope;
  return at::cat({y.narrow(-1, 0, nope),
                  rotated(y.narrow(-1, nope, ending.rope), angles(ending.cos), angles(ending.sin))},
                 -1);
}

at::Tensor product(const at::Tensor& rows, const at::Tensor& weight) {
  return at::matmul(rows, weight.t());
}

// --- op
at::Tensor compressor(const at::Tensor& x, const at::Tensor& wkv, const at::Tensor& wgate,
                      const at::Tensor& state_cache, const at::Tensor& ape,
                      const at::Tensor& norm_weight, const at::Tensor& rope_sin,
                      const at::Tensor& rope_cos, std::int64_t rope_head_dim,
                      std::int64_t cmp_ratio, const MaybeTensor& state_block_table,
                      const MaybeTensor& cu_seqlens, const MaybeTensor& seqused,
                      const MaybeTensor& start_pos, std::int64_t coff, double norm_eps,
                      std::int64_t rotary_mode, std::int64_t cache_mode) {
  const Compressor on{"compressor",      x,          wkv,     wgate,     state_cache, ape,
                      state_block_table, cu_seqlens, seqused, start_pos, cmp_ratio,   coff};
  TORCH_CHECK_TYPE(x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf, on.op,
                   ": expected x of bfloat16 or float16, got ", x.scalar_type());
  check(on, cache_mode);
  const Ending ending{norm_weight, rope_sin, rope_cos, rope_head_dim, norm_eps};
  check_ending(on, ending, rotary_mode);
  if (x.is_meta()) return at::empty(result_sizes(on, on.width()), x.options());
  const at::Tensor rows = widened(x).reshape({-1, x.size(-1)});
  const auto keys = keys_of_all(on, product(rows, widened(wkv)), product(rows, widened(wgate)));
  return placed(on, keys, x.scalar_type(),
                [&](const at::Tensor& values, std::int64_t sequence, std::int64_t first) {
                  return normed_and_rotated(on, ending, values, sequence, first);
                });
}

at::Tensor factors(ArgumentName name, const MaybeTensor& descale, std::int64_t channels) {
  TORCH_CHECK_VALUE(given(descale) && (descale->numel() == 1 || descale->numel() == channels),
                    name.op, ": expected ", name.argument, " of [1] or [", channels, "], got ",
                    given(descale) ? c10::str(descale->sizes()) : "None");
  return widened(*descale).flatten();
}

// HiFloat8 operands with a scale for x and one a channel of the weights; neither norm nor rotation.
at::Tensor quant_compressor(const at::Tensor& x, const at::Tensor& wkv, const at::Tensor& wgate,
                            const at::Tensor& state_cache, const at::Tensor& ape,
                            std::int64_t quant_mode, std::int64_t cmp_ratio,
                            const MaybeTensor& x_descale, const MaybeTensor& wkv_descale,
                            const MaybeTensor& wgate_descale, const MaybeTensor& state_block_table,
                            const MaybeTensor& cu_seqlens, const MaybeTensor& seqused,
                            const MaybeTensor& start_pos, std::int64_t coff,
                            std::int64_t cache_mode) {
  const Compressor on{"quant_compressor", x,          wkv,     wgate,     state_cache, ape,
                      state_block_table,  cu_seqlens, seqused, start_pos, cmp_ratio,   coff};
  TORCH_CHECK_VALUE(quant_mode == 1, on.op, ": expected quant_mode 1 (HiFloat8), got ", quant_mode);
  TORCH_CHECK_TYPE(x.scalar_type() == at::kByte, on.op,
                   ": expected x of uint8 that holds hifloat8, got ", x.scalar_type());
  check(on, cache_mode);
  const std::int64_t channels = wkv.size(0);
  const at::Tensor x_scale = factors({on.op, "x_descale"}, x_descale, 1);
  const at::Tensor kv_scale = factors({on.op, "wkv_descale"}, wkv_descale, channels);
  const at::Tensor gate_scale = factors({on.op, "wgate_descale"}, wgate_descale, channels);
  const auto results = x.options().dtype(at::kBFloat16);
  if (x.is_meta()) return at::empty(result_sizes(on, on.width()), results);
  const auto values = [](const at::Tensor& codes) {
    return decoded(codes.contiguous(), compute::Element::kHifloat8);
  };
  const at::Tensor rows = values(x).reshape({-1, x.size(-1)}) * x_scale;
  const auto keys = keys_of_all(on, product(rows, values(wkv)) * kv_scale,
                                product(rows, values(wgate)) * gate_scale);
  return placed(on, keys, at::kBFloat16,
                [](const at::Tensor& key, std::int64_t, std::int64_t) { return key; });
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&compressor>(m, "compressor");
  composed_kernel<&quant_compressor>(m, "quant_compressor");
});

}  // namespace
}  // namespace npu_sim::ops
