// What the forms of attention over a window and compressed keys have in common.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "aten/describe/call.h"
#include "ops/extension/shared_attention.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// What all forms are given.
struct SharedArguments {
  const char* op;
  const at::Tensor& query;
  const MaybeTensor& own;
  const MaybeTensor& compressed;
  const MaybeTensor& indices;
  const MaybeTensor& own_table;
  const MaybeTensor& compressed_table;
  const MaybeTensor& sinks;
  std::string_view layout_query;
  std::int64_t ratio;
  Window window;
  bool causal = true;
};

// Raises ValueError or TypeError, naming the argument, unless shapes and dtypes fit; a key takes
// `columns` elements of `dtype`.
void check_shared(const SharedArguments& on, at::ScalarType dtype, std::int64_t columns);

struct NamedTensor {
  const char* argument;
  const MaybeTensor& tensor;
};

// Raises NotImplementedError for arguments that the card's kernels reserve; empty tensors count as
// none.
void refuse_reserved(const char* op, std::initializer_list<NamedTensor> reserved);

// Raises ValueError unless the layout is the card's only one.
void check_layout_of_keys(const char* op, std::string_view layout, std::string_view only);

// Raises NotImplementedError where the statistics of the softmax are wanted.
void check_no_statistics(const char* op, bool wanted);

// The values of `lengths`; raises ValueError unless there is one a sequence.
[[nodiscard]] Integers lengths_in(ArgumentName name, const MaybeTensor& lengths,
                                  std::size_t sequences);

struct Decoding {
  at::Tensor query{};  // fp32, of query's sizes
  DecodeKeys own{};
  DecodeKeys compressed{};
};

// fp32 of query's sizes. `tokens` are those of each sequence before compression; a `scale` of 0 is
// one over the square root of the width.
[[nodiscard]] at::Tensor shared_attention(const SharedArguments& on,
                                          const std::vector<Sequence>& queries,
                                          const Integers& tokens, double scale,
                                          const Decoding& decoding);

// --- for describers
// Which arguments of a call are what; cmp_kv follows ori_kv.
struct SharedSources {
  std::size_t own;
  std::size_t indices;
  std::size_t own_table;
  std::size_t query_lengths;
  std::size_t key_lengths;
  std::size_t ratio;
  std::size_t before;
  std::size_t query_layout;
};

// An attention of as many scores. Where each query chooses its keys, they are gathered one by one;
// else the queries of a sequence share theirs.
[[nodiscard]] model::Work shared_work(const aten::Call& call, const SharedSources& where);

}  // namespace npu_sim::ops
