// One call of an operator of inference attention, in the words of all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "compute/format/element.h"
#include "ops/attention/infer_layout.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// What an operator calls its arguments, for error texts.
struct InferNames {
  const char* op;
  const char* heads = "num_heads";
  const char* query_lengths = "actual_seq_lengths";
  const char* key_lengths = "actual_seq_lengths_kv";
  const char* key_scale = "key_antiquant_scale";
  const char* key_offset = "key_antiquant_offset";
  const char* key_mode = "key_antiquant_mode";
  const char* value_scale = "value_antiquant_scale";
  const char* value_offset = "value_antiquant_offset";
  const char* value_mode = "value_antiquant_mode";
  const char* out_scale = "quant_scale2";
  const char* out_offset = "quant_offset2";
  const char* product_scale = "dequant_scale1";  // of the scores of int8 operands
  const char* weight_scale = "quant_scale1";     // of the weights, before the product with value
  const char* result_scale = "dequant_scale2";   // of that product

  [[nodiscard]] ArgumentName named(const char* argument) const { return {op, argument}; }
};

// Scale and offset of keys or values, each with a mode of kv_scale.h.
struct CodedRows {
  MaybeTensor scale;
  MaybeTensor offset;
  std::int64_t mode = 0;
  std::optional<std::int64_t> dtype;  // what bytes mean, where the tensor's dtype does not say
};

struct InferQuantisation {
  CodedRows query;
  CodedRows key;
  CodedRows value;
  MaybeTensor both_scale;  // [2, ...]: of keys, then of values; the separate ones come first
  MaybeTensor both_offset;
  std::int64_t both_mode = 0;
  MaybeTensor product_scale;
  MaybeTensor weight_scale;
  MaybeTensor result_scale;
  MaybeTensor out_scale;
  MaybeTensor out_offset;
  std::optional<std::int64_t> out_dtype;
};

struct InferMasking {
  MaybeTensor hidden;  // not 0: not attended to
  std::int64_t pre_tokens = 0;
  std::int64_t next_tokens = 0;
  std::int64_t sparse_mode = 0;
};

struct InferCall {
  const InferNames* names = nullptr;
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  MaybeTensor query_rope;
  MaybeTensor key_rope;
  MaybeTensor bias;
  InferMasking masking;
  std::optional<Integers> query_lengths;
  std::optional<Integers> key_lengths;
  MaybeTensor query_padding;
  MaybeTensor key_padding;
  MaybeTensor block_table;
  MaybeTensor key_prefix;
  MaybeTensor value_prefix;
  std::optional<Integers> prefix_length;
  MaybeTensor sinks;
  InferQuantisation quantisation;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 0;  // 0: heads
  double scale = 1;
  std::string_view layout = "BSH";
  bool wants_lse = false;
};

// Sizes of a call that passed its checks.
struct InferSizes {
  InferLayout layout;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t batch = 0;    // of query, 1 in a flat layout
  std::int64_t queries = 0;  // along the axis of tokens
  std::int64_t keys = 0;     // along the axis of tokens; of a block in a cache
  std::int64_t width = 0;    // of a query, rope apart
  std::int64_t rope = 0;     // 0: none
  std::int64_t value_width = 0;
  std::int64_t prefix = 0;  // tokens that all sequences share
  bool paged = false;
};

// Formats of a call that passed its checks.
struct InferFormats {
  std::optional<compute::Element> query;  // nullopt: wide
  std::optional<compute::Element> key;
  std::optional<compute::Element> value;
  std::optional<compute::Element> out;
  at::ScalarType out_dtype = at::kHalf;
};

// Raise ValueError or TypeError, as by the operator, on what the card refuses.
[[nodiscard]] InferFormats infer_formats(const InferCall& call);
[[nodiscard]] InferSizes infer_sizes(const InferCall& call, const InferFormats& formats);

// The same of what decides the results' shapes: neither keys nor what stands beside them.
[[nodiscard]] InferSizes infer_output_sizes(const InferCall& call, const InferFormats& formats);
void check_masking(const InferCall& call, const InferSizes& sizes);

// Whether a mask of 2048 x 2048 stands for a triangle, and whether sparse_mode and the tokens
// before and after have no effect, as for one query a sequence without rope.
[[nodiscard]] bool is_compressed_mask(const MaybeTensor& mask);
[[nodiscard]] bool ignores_sparse_mode(const InferSizes& sizes);

struct InferResult {
  at::Tensor out;
  at::Tensor lse;  // [0] where it is not wanted
};

// New results of the right shapes, values undefined.
[[nodiscard]] InferResult infer_results(const InferCall& call, const InferSizes& sizes,
                                        const InferFormats& formats);

// softmax(scale query key^T + bias) value. Queries that see no key get 0, and an lse of infinity.
[[nodiscard]] InferResult infer_attention(const InferCall& call);

}  // namespace npu_sim::ops
