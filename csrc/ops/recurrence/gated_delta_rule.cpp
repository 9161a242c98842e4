// The gated delta rule of linear attention, token by token over a state S of [v, k] a head:
// S = a S + b (v - a S k) k^T, o = S q scale, with the decay a = exp(g) exp(gk).
//
// The chunked kernel of the card computes the same sums by products of 64 tokens; here both names
// share the recurrence, in fp32.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

using base::Bytes;
using Lengths = Integers;

// --- work
// Token by token on the vector cores: a state element is decayed, multiplied with k and summed,
// updated, multiplied with q and summed. A sequence's first state is read, each token's written.
model::Work recurrent_work(const aten::Call& call) {
  const at::Tensor& query = aten::tensor_at(call, 0);
  const at::Tensor& value = aten::tensor_at(call, 2);
  const at::Tensor& state = aten::tensor_at(call, 3);
  const std::int64_t tokens = aten::size_along(value, 0);
  const std::int64_t sequences =
      std::max<std::int64_t>(aten::elements_of(aten::tensor_at(call, 6)), 1);
  const std::int64_t elements = value.numel() * aten::size_along(query, -1);
  const auto block = [&](std::int64_t count) {
    return Bytes(aten::ratio(elements, tokens) * count *
                 static_cast<std::int64_t>(state.element_size()));
  };
  Bytes vectors = aten::bytes_of(aten::tensor_at(call, 1)) + aten::bytes_of(query);
  for (const std::size_t index : {2U, 4U, 6U, 7U, 8U, 9U, 10U}) {
    vectors += aten::bytes_of(aten::tensor_at(call, index));
  }
  return model::VectorWork{.elements = elements,
                           .read = vectors + block(sequences),
                           .written = aten::bytes_of(call.result(0)) + block(tokens),
                           .compute = base::Format::kFp32,
                           .linear_ops = 7};
}

// A chunk of 64 tokens a head: k k^T and q k^T, the inverse of a triangle, its products with k and
// v, then q and k against the state and the state's update. One product of as many operations,
// whose operands stand for the chunk's intermediates, which go through memory.
model::Work chunk_work(const aten::Call& call) {
  constexpr std::int64_t kChunk = 64;
  const at::Tensor& query = aten::tensor_at(call, 0);
  const at::Tensor& value = aten::tensor_at(call, 2);
  const auto lengths = aten::integers_at(call, 5);
  std::int64_t chunks = (aten::size_along(value, 0) + kChunk - 1) / kChunk;
  if (lengths) {
    chunks = 0;
    for (const std::int64_t length : *lengths) chunks += (length + kChunk - 1) / kChunk;
  }
  const std::int64_t k = aten::size_along(query, -1);
  const std::int64_t v = aten::size_along(value, -1);
  const std::int64_t within = kChunk * kChunk * (3 * k + 2 * v) + kChunk * kChunk * kChunk / 3;
  const std::int64_t operations = within + 3 * kChunk * k * v;
  return model::MatmulWork{.batch = chunks * aten::size_along(value, 1),
                           .m = kChunk,
                           .n = v,
                           .k = aten::ratio(operations, kChunk * v),
                           .a = aten::format_of(query),
                           .b = aten::format_of(value),
                           .out = aten::format_of(value)};
}
constexpr aten::Entry kEntries[] = {
    {"npu_recurrent_gated_delta_rule", recurrent_work},
    {"npu_recurrent_gated_delta_rule_functional", recurrent_work},
    {"npu_chunk_gated_delta_rule", chunk_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Inputs {
  const char* op;
  const at::Tensor& query;  // [tokens, k heads, k]
  const at::Tensor& key;
  const at::Tensor& value;  // [tokens, v heads, v]
  const at::Tensor& state;  // [blocks, v heads, v, k]
  const MaybeTensor& beta;  // [tokens, v heads]; 1 if absent
  const MaybeTensor& g;     // [tokens, v heads]; 0 if absent
  const MaybeTensor& gk;    // [tokens, v heads, k]; 0 if absent
};

void check_optional(const Inputs& in, const char* name, const MaybeTensor& tensor,
                    at::IntArrayRef sizes) {
  if (!given(tensor)) return;
  TORCH_CHECK_TYPE(tensor->is_floating_point(), in.op, ": expected a floating ", name, ", got ",
                   tensor->scalar_type());
  TORCH_CHECK_VALUE(tensor->sizes() == sizes, in.op, ": expected ", name, " of ", sizes, ", got ",
                    tensor->sizes());
}

void check_inputs(const Inputs& in, std::int64_t longest_axis) {
  TORCH_CHECK_VALUE(in.value.dim() == 3 && in.value.numel() > 0, in.op,
                    ": expected value [T, Nv, Dv], not empty, got ", in.value.sizes());
  TORCH_CHECK_VALUE(in.query.dim() == 3 && in.query.numel() > 0 &&
                        in.query.size(0) == in.value.size(0) &&
                        in.value.size(1) % in.query.size(1) == 0,
                    in.op, ": expected query [T, Nk, Dk] with Nk a divisor of Nv for value ",
                    in.value.sizes(), ", got ", in.query.sizes());
  TORCH_CHECK_VALUE(in.key.sizes() == in.query.sizes(), in.op, ": expected key of the shape of ",
                    "query ", in.query.sizes(), ", got ", in.key.sizes());
  const std::int64_t heads = in.value.size(1);
  TORCH_CHECK_VALUE(in.state.dim() == 4 && in.state.size(1) == heads &&
                        in.state.size(2) == in.value.size(2) &&
                        in.state.size(3) == in.query.size(2),
                    in.op, ": expected a state [blocks, ", heads, ", ", in.value.size(2), ", ",
                    in.query.size(2), "], got ", in.state.sizes());
  for (const at::Tensor* const tensor : {&in.query, &in.key, &in.value}) {
    TORCH_CHECK_TYPE(tensor->scalar_type() == at::kBFloat16, in.op,
                     ": expected query, key and value of bfloat16, got ", tensor->scalar_type());
  }
  TORCH_CHECK_TYPE(in.state.scalar_type() == at::kBFloat16 || in.state.scalar_type() == at::kFloat,
                   in.op, ": expected a state of bfloat16 or float32, got ",
                   in.state.scalar_type());
  TORCH_CHECK_VALUE(in.query.size(2) <= longest_axis && in.value.size(2) <= longest_axis, in.op,
                    ": expected Dk and Dv up to ", longest_axis, ", got ", in.query.size(2),
                    " and ", in.value.size(2));
  const std::int64_t tokens = in.value.size(0);
  check_optional(in, "beta", in.beta, {tokens, heads});
  check_optional(in, "g", in.g, {tokens, heads});
  check_optional(in, "gk", in.gk, {tokens, heads, in.query.size(2)});
}

void check_required(const char* op, const char* name, const MaybeTensor& tensor) {
  TORCH_CHECK_VALUE(given(tensor), op, ": expected ", name, ", got None");
}

// An int32 or int64 tensor of `count` elements as a vector.
Lengths integers(const char* op, const char* name, const at::Tensor& tensor, std::int64_t count) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kInt || tensor.scalar_type() == at::kLong, op,
                   ": expected ", name, " of int32, got ", tensor.scalar_type());
  TORCH_CHECK_VALUE(tensor.dim() == 1 && (count < 0 || tensor.size(0) == count), op, ": expected ",
                    name, " of one axis", count < 0 ? "" : " with one element a token or sequence",
                    ", got ", tensor.sizes());
  return integers_in(tensor);
}

void check_lengths(const char* op, const Lengths& lengths, std::int64_t tokens) {
  std::int64_t sum = 0;
  for (const std::int64_t length : lengths) {
    TORCH_CHECK_VALUE(length >= 0, op, ": expected actual_seq_lengths of at least 0, got ", length);
    sum += length;
  }
  TORCH_CHECK_VALUE(sum == tokens, op, ": expected actual_seq_lengths with the sum T = ", tokens,
                    ", got ", sum);
}

// --- compute
// Inputs in fp32, contiguous; absent ones have no data.
struct Floats {
  at::Tensor query, key, value, beta, g, gk;

  static at::Tensor of(const MaybeTensor& tensor) {
    return given(tensor) ? tensor->to(at::kFloat).contiguous() : at::Tensor();
  }
  explicit Floats(const Inputs& in, double scale)
      : query((in.query.to(at::kFloat) * scale).contiguous()),
        key(of(in.key)),
        value(of(in.value)),
        beta(of(in.beta)),
        g(of(in.g)),
        gk(of(in.gk)) {}
};

// One token of one head: pointers to its vectors, and its two factors.
struct Token {
  const float* query;
  const float* key;
  const float* value;
  const float* decay;  // a factor a column of the state
  float beta;
};

// Moves `state` [v, k] on by a token; writes the token's output [v].
void advance(const Token& token, std::int64_t rows, std::int64_t columns, float* state,
             float* out) {
  for (std::int64_t i = 0; i < rows; ++i) {
    float* const row = state + i * columns;
    float seen = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      row[j] *= token.decay[j];
      seen += row[j] * token.key[j];
    }
    const float change = (token.value[i] - seen) * token.beta;
    float sum = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      row[j] += change * token.key[j];
      sum += row[j] * token.query[j];
    }
    out[i] = sum;
  }
}

struct Sequence {
  std::int64_t begin = 0;  // its first token
  std::int64_t end = 0;
  std::int64_t from = 0;        // block of the state it starts with
  std::int64_t last_block = 0;  // block of its last state, where only that one is kept
};

using Sequences = std::vector<Sequence>;

// Runs head `head` of a sequence; after each token `store(token, state)` may keep the state.
template <class Store>
void run_head(const Floats& in, const Sequence& sequence, std::int64_t head, float* state,
              float* out, const Store& store) {
  const std::int64_t heads = in.value.size(1);
  const std::int64_t rows = in.value.size(2);
  const std::int64_t key_heads = in.query.size(1);
  const std::int64_t columns = in.query.size(2);
  const std::int64_t key_head = head / (heads / key_heads);
  std::vector<float> decay(static_cast<std::size_t>(columns));
  for (std::int64_t t = sequence.begin; t < sequence.end; ++t) {
    const std::int64_t at_head = t * heads + head;
    const std::int64_t at_key = (t * key_heads + key_head) * columns;
    const float g = in.g.defined() ? in.g.const_data_ptr<float>()[at_head] : 0.0F;
    for (std::int64_t j = 0; j < columns; ++j) {
      const float gk =
          in.gk.defined() ? in.gk.const_data_ptr<float>()[at_head * columns + j] : 0.0F;
      decay[static_cast<std::size_t>(j)] = std::exp(g) * std::exp(gk);
    }
    const Token token{.query = in.query.const_data_ptr<float>() + at_key,
                      .key = in.key.const_data_ptr<float>() + at_key,
                      .value = in.value.const_data_ptr<float>() + at_head * rows,
                      .decay = decay.data(),
                      .beta = in.beta.defined() ? in.beta.const_data_ptr<float>()[at_head] : 1.0F};
    advance(token, rows, columns, state, out + at_head * rows);
    store(t, state);
  }
}

// All heads of all sequences. `block_of(token)` is where the state after that token goes, or -1.
template <class Scalar, class BlockOf>
void run_all(const Floats& in, const Sequences& sequences, const at::Tensor& state, float* out,
             const BlockOf& block_of) {
  const std::int64_t heads = in.value.size(1);
  const std::int64_t size = in.value.size(2) * in.query.size(2);
  Scalar* const blocks = state.mutable_data_ptr<Scalar>();
  const auto tasks = static_cast<std::int64_t>(sequences.size()) * heads;
  at::parallel_for(0, tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> running(static_cast<std::size_t>(size));
    for (std::int64_t task = begin; task < end; ++task) {
      const Sequence& sequence = sequences[static_cast<std::size_t>(task / heads)];
      const std::int64_t head = task % heads;
      const Scalar* const from = blocks + (sequence.from * heads + head) * size;
      std::copy(from, from + size, running.begin());
      run_head(in, sequence, head, running.data(), out, [&](std::int64_t t, const float* now) {
        const std::int64_t block = block_of(sequence, t);
        if (block < 0) return;
        std::copy(now, now + size, blocks + (block * heads + head) * size);
      });
    }
  });
}

// Writes into `state`, which is contiguous; returns the output in bf16.
template <class BlockOf>
at::Tensor run(const Inputs& in, double scale, const Sequences& sequences, const at::Tensor& state,
               const BlockOf& block_of) {
  const Floats floats(in, scale);
  const at::Tensor out = at::empty(in.value.sizes(), in.value.options().dtype(at::kFloat));
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, state.scalar_type(), "gated_delta_rule", [&] {
    run_all<scalar_t>(floats, sequences, state, out.mutable_data_ptr<float>(), block_of);
  });
  return out.to(at::kBFloat16);
}

// The sequences, each with the block its accepted tokens left the state in.
Sequences recurrent_sequences(const Inputs& in, const Lengths& lengths, const Lengths& blocks,
                              const MaybeTensor& accepted) {
  const auto count = static_cast<std::int64_t>(lengths.size());
  const Lengths taken = given(accepted) ? integers(in.op, "num_accepted_tokens", *accepted, count)
                                        : Lengths(lengths.size(), 1);
  Sequences sequences;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] == 0) continue;
    TORCH_CHECK_VALUE(taken[i] >= 1 && taken[i] <= lengths[i], in.op,
                      ": expected num_accepted_tokens from 1 to the sequence's length ", lengths[i],
                      ", got ", taken[i]);
    const std::int64_t from = blocks[static_cast<std::size_t>(begin + taken[i] - 1)];
    sequences.push_back({.begin = begin, .end = begin + lengths[i], .from = from});
    begin += lengths[i];
  }
  return sequences;
}

at::Tensor recurrent(const Inputs& in, std::optional<double> scale,
                     const MaybeTensor& lengths_tensor, const MaybeTensor& indices,
                     const MaybeTensor& accepted, at::Tensor& state) {
  constexpr std::int64_t kLongestAxis = 512;
  check_inputs(in, kLongestAxis);
  TORCH_CHECK_VALUE(scale.has_value(), in.op, ": expected scale, got None");
  check_required(in.op, "actual_seq_lengths", lengths_tensor);
  check_required(in.op, "ssm_state_indices", indices);
  if (in.value.is_meta()) return at::empty(in.value.sizes(), in.value.options());
  const std::int64_t tokens = in.value.size(0);
  const Lengths lengths = integers(in.op, "actual_seq_lengths", *lengths_tensor, -1);
  check_lengths(in.op, lengths, tokens);
  const Lengths blocks = integers(in.op, "ssm_state_indices", *indices, tokens);
  for (const std::int64_t block : blocks) {
    TORCH_CHECK_INDEX(block >= 0 && block < state.size(0), in.op,
                      ": expected ssm_state_indices in [0, ", state.size(0), "), got ", block);
  }
  const Sequences sequences = recurrent_sequences(in, lengths, blocks, accepted);
  const at::Tensor held = state.contiguous();
  at::Tensor out = run(in, *scale, sequences, held, [&](const Sequence&, std::int64_t token) {
    return blocks[static_cast<std::size_t>(token)];
  });
  if (!held.is_same(state)) state.copy_(held);
  return out;
}

at::Tensor recurrent_in_place(const at::Tensor& query, const at::Tensor& key,
                              const at::Tensor& value, at::Tensor& state, const MaybeTensor& beta,
                              std::optional<double> scale, const MaybeTensor& lengths,
                              const MaybeTensor& indices, const MaybeTensor& accepted,
                              const MaybeTensor& g, const MaybeTensor& gk) {
  const Inputs in{.op = "npu_recurrent_gated_delta_rule",
                  .query = query,
                  .key = key,
                  .value = value,
                  .state = state,
                  .beta = beta,
                  .g = g,
                  .gk = gk};
  return recurrent(in, scale, lengths, indices, accepted, state);
}

std::tuple<at::Tensor, at::Tensor> recurrent_functional(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& state, const MaybeTensor& beta, std::optional<double> scale,
    const MaybeTensor& lengths, const MaybeTensor& indices, const MaybeTensor& accepted,
    const MaybeTensor& g, const MaybeTensor& gk) {
  const Inputs in{.op = "npu_recurrent_gated_delta_rule_functional",
                  .query = query,
                  .key = key,
                  .value = value,
                  .state = state,
                  .beta = beta,
                  .g = g,
                  .gk = gk};
  at::Tensor moved = state.clone(at::MemoryFormat::Contiguous);
  at::Tensor out = recurrent(in, scale, lengths, indices, accepted, moved);
  return {out, moved};
}

std::tuple<at::Tensor, at::Tensor> chunk(const at::Tensor& query, const at::Tensor& key,
                                         const at::Tensor& value, const MaybeTensor& beta,
                                         const MaybeTensor& initial_state,
                                         const MaybeTensor& lengths, std::optional<double> scale,
                                         const MaybeTensor& g) {
  constexpr const char* kOp = "npu_chunk_gated_delta_rule";
  constexpr std::int64_t kLongestAxis = 128;
  check_required(kOp, "beta", beta);
  check_required(kOp, "initial_state", initial_state);
  check_required(kOp, "actual_seq_lengths", lengths);
  TORCH_CHECK_VALUE(scale.has_value(), kOp, ": expected scale, got None");
  const MaybeTensor no_gk;
  const Inputs in{.op = kOp,
                  .query = query,
                  .key = key,
                  .value = value,
                  .state = *initial_state,
                  .beta = beta,
                  .g = g,
                  .gk = no_gk};
  check_inputs(in, kLongestAxis);
  at::Tensor state = initial_state->clone(at::MemoryFormat::Contiguous);
  if (value.is_meta()) return {at::empty(value.sizes(), value.options()), state};
  const Lengths counts = integers(kOp, "actual_seq_lengths", *lengths, state.size(0));
  check_lengths(kOp, counts, value.size(0));
  Sequences sequences;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto block = static_cast<std::int64_t>(i);
    sequences.push_back(
        {.begin = begin, .end = begin + counts[i], .from = block, .last_block = block});
    begin += counts[i];
  }
  at::Tensor out = run(in, *scale, sequences, state, [](const Sequence& s, std::int64_t token) {
    return token + 1 == s.end ? s.last_block : -1;
  });
  return {out, state};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&recurrent_in_place>(m, "npu_recurrent_gated_delta_rule");
  composed_kernel<&recurrent_functional>(m, "npu_recurrent_gated_delta_rule_functional");
  composed_kernel<&chunk>(m, "npu_chunk_gated_delta_rule");
}

}  // namespace
}  // namespace npu_sim::ops
