// npu_moe_token_permute_with_routing_map and its inverse: tokens in the order of their experts,
// which a map of [tokens, experts] says, and back.
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/moe/moved_rows.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the map is sorted, then rows move.
model::Work sort_map(const aten::Call& call) { return sorted_choices(call.result(2)); }
model::Work move_tokens(const aten::Call& call) {
  return moved_rows(
      call, {.table = aten::tensor_at(call, 0), .items = aten::size_along(call.result(), 0)});
}
// Rows of `table` by the places of `places`.
template <std::size_t table, std::size_t places>
model::Work gather_rows(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, table),
                           .items = aten::elements_of(aten::tensor_at(call, places)),
                           .one_by_one = true});
}
constexpr aten::Describer kThenMoves[] = {move_tokens};
constexpr aten::Entry kEntries[] = {
    {"npu_moe_token_permute_with_routing_map", sort_map, kThenMoves},
    {"npu_moe_token_permute_with_routing_map_grad", gather_rows<0, 2>},
    {"npu_moe_token_unpermute_with_routing_map", gather_rows<0, 1>},
    {"_npu_moe_token_unpermute_with_routing_map", gather_rows<0, 1>},
    {"npu_moe_token_unpermute_with_routing_map_grad", gather_rows<0, 1>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_map(const char* op, const at::Tensor& map, std::int64_t tokens) {
  TORCH_CHECK_VALUE(map.dim() == 2 && map.size(0) == tokens && map.size(1) >= 1, op,
                    ": expected routing_map of [", tokens, ", experts], got ", map.sizes());
  const at::ScalarType dtype = map.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kBool || dtype == at::kChar || dtype == at::kByte, op,
                   ": expected routing_map of bool or int8, got ", dtype);
}

void check_probs(const char* op, const MaybeTensor& probs, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(!given(probs) || probs->sizes() == sizes, op, ": expected probs of ", sizes,
                    ", got ", given(probs) ? probs->sizes() : at::IntArrayRef{});
}

// [experts, tokens], whether the expert serves the token.
at::Tensor by_expert(const at::Tensor& map) { return map.to(at::kBool).t().contiguous(); }

// Where every token has `k` experts: the tokens in the order of their experts.
at::Tensor mapped_tokens(const char* op, const at::Tensor& map, std::int64_t k) {
  const std::int64_t rows = map.size(0) * k;
  if (map.is_meta()) return at::empty({rows}, map.options().dtype(at::kLong));
  TORCH_CHECK_VALUE((map.to(at::kBool).sum(1) == k).all().item<bool>(), op, ": expected ", k,
                    " experts for each token in routing_map, as the number of rows has it");
  return by_expert(map).nonzero().select(1, 1);
}

std::int64_t capacity_of(const char* op, std::int64_t rows, std::int64_t experts,
                         std::int64_t tokens) {
  const std::int64_t capacity = rows / experts;
  TORCH_CHECK_VALUE(capacity >= 0 && capacity <= tokens, op, ": expected a capacity of 0 to the ",
                    tokens, " tokens for each of ", experts, " experts, got ", capacity);
  return capacity;
}

// Values of [tokens, experts] at the rows of a padded permutation: expert by expert, its tokens.
at::Tensor padded_values(const at::Tensor& values, const at::Tensor& tokens) {
  const std::int64_t experts = values.size(1);
  const at::Tensor grid = tokens.to(at::kLong).view({experts, tokens.numel() / experts});
  return values.t().gather(1, grid).reshape({-1});
}

// --- compute
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three permute_padded(const at::Tensor& tokens, const at::Tensor& map, const MaybeTensor& probs,
                     std::int64_t capacity) {
  // An expert with fewer tokens than its capacity is filled up with others, as the sort has them.
  const at::Tensor order = std::get<1>(
      at::sort(by_expert(map).to(at::kByte), /*stable=*/true, /*dim=*/-1, /*descending=*/true));
  const at::Tensor source = order.narrow(1, 0, capacity).reshape({-1});
  return {tokens.index_select(0, source),
          given(probs) ? padded_values(*probs, source) : at::Tensor(), source.to(at::kInt)};
}

Three permute_with_map(const at::Tensor& tokens, const at::Tensor& map, const MaybeTensor& probs,
                       std::optional<std::int64_t> num_out_tokens, bool drop_and_pad) {
  constexpr const char* kOp = "npu_moe_token_permute_with_routing_map";
  TORCH_CHECK_VALUE(tokens.dim() == 2, kOp, ": expected tokens of [tokens, hidden], got ",
                    tokens.sizes());
  const std::int64_t count = tokens.size(0);
  check_map(kOp, map, count);
  check_probs(kOp, probs, map.sizes());
  const std::int64_t rows = num_out_tokens.value_or(count);
  TORCH_CHECK_VALUE(rows >= 0, kOp, ": expected num_out_tokens of 0 or more, got ", rows);
  if (drop_and_pad) {
    return permute_padded(tokens, map, probs, capacity_of(kOp, rows, map.size(1), count));
  }
  const at::Tensor source = mapped_tokens(kOp, map, count == 0 ? 0 : rows / count);
  const at::Tensor chosen = !given(probs)      ? at::Tensor()
                            : probs->is_meta() ? at::empty({source.numel()}, probs->options())
                                               : probs->t().masked_select(by_expert(map));
  return {tokens.index_select(0, source), chosen, stable_order(source).to(at::kInt)};
}

// Row gradients of [experts k] order, placed in [tokens, experts].
at::Tensor scattered_by_map(const at::Tensor& values, const at::Tensor& map) {
  const at::Tensor grid = at::zeros({map.size(1), map.size(0)}, values.options());
  if (values.is_meta()) return grid.t();
  return grid.masked_scatter(by_expert(map), values).t().contiguous();
}

at::Tensor scattered_by_place(const at::Tensor& values, const at::Tensor& tokens,
                              at::IntArrayRef sizes) {
  const std::int64_t experts = sizes[1];
  const at::Tensor grid = tokens.to(at::kLong).view({experts, tokens.numel() / experts});
  return at::zeros({experts, sizes[0]}, values.options())
      .scatter_add(1, grid, values.view(grid.sizes()))
      .t()
      .contiguous();
}

std::tuple<at::Tensor, at::Tensor> permute_with_map_grad(
    const at::Tensor& grad, const MaybeTensor& probs_grad, const at::Tensor& sorted_indices,
    const at::Tensor& map, std::int64_t experts, std::int64_t tokens, bool drop_and_pad) {
  constexpr const char* kOp = "npu_moe_token_permute_with_routing_map_grad";
  const std::int64_t rows = sorted_indices.numel();
  check_map(kOp, map, tokens);
  TORCH_CHECK_VALUE(map.size(1) == experts, kOp, ": expected experts_num of ", map.size(1),
                    ", as routing_map has, got ", experts);
  TORCH_CHECK_VALUE(grad.dim() == 2 && grad.size(0) == rows, kOp,
                    ": expected permuted_token_out_grad of [", rows, ", hidden], got ",
                    grad.sizes());
  TORCH_CHECK_VALUE(!given(probs_grad) || probs_grad->numel() == rows, kOp,
                    ": expected probs_grad of [", rows, "], got ",
                    given(probs_grad) ? probs_grad->sizes() : at::IntArrayRef{});
  const at::Tensor wide = widened(grad);
  const std::int64_t hidden = grad.size(1);
  if (drop_and_pad) {
    check_indices({kOp, "sorted_indices"}, sorted_indices, 0, tokens);
    TORCH_CHECK_VALUE(rows % experts == 0, kOp, ": expected sorted_indices of ", experts,
                      " times a capacity, got ", rows);
    const at::Tensor sum = at::zeros({tokens, hidden}, wide.options())
                               .index_add(0, sorted_indices.reshape({-1}), wide);
    return {sum.to(grad.scalar_type()),
            given(probs_grad) ? scattered_by_place(*probs_grad, sorted_indices, map.sizes())
                              : at::Tensor()};
  }
  check_indices({kOp, "sorted_indices"}, sorted_indices, 0, rows);
  TORCH_CHECK_VALUE(tokens == 0 ? rows == 0 : rows % tokens == 0, kOp,
                    ": expected sorted_indices of ", tokens, " times k, got ", rows);
  const at::Tensor each = wide.index_select(0, sorted_indices.reshape({-1}));
  const std::int64_t k = tokens == 0 ? 0 : rows / tokens;
  return {each.view({tokens, k, hidden}).sum(1).to(grad.scalar_type()),
          given(probs_grad) ? scattered_by_map(*probs_grad, map) : at::Tensor()};
}

// What the inverse is told.
struct Unpermute {
  const char* op;
  const at::Tensor& sorted_indices;
  const MaybeTensor& map;
  const MaybeTensor& probs;
  bool pads;
  at::IntArrayRef shape;  // [tokens, hidden]
};

void check_unpermute(const Unpermute& unpermute) {
  const char* const op = unpermute.op;
  const std::int64_t rows = unpermute.sorted_indices.numel();
  TORCH_CHECK_VALUE(unpermute.shape.size() == 2, op,
                    ": expected restore_shape of [tokens, hidden], got ", unpermute.shape);
  const std::int64_t tokens = unpermute.shape[0];
  TORCH_CHECK_VALUE(unpermute.pads || (tokens == 0 ? rows == 0 : rows % tokens == 0), op,
                    ": expected sorted_indices of ", tokens, " times k, got ", rows);
  check_indices({op, "sorted_indices"}, unpermute.sorted_indices, 0,
                unpermute.pads ? tokens : rows);
  if (!given(unpermute.probs)) return;
  const at::Tensor& probs = *unpermute.probs;
  TORCH_CHECK_VALUE(probs.dim() == 2 && probs.size(0) == tokens && probs.size(1) >= 1, op,
                    ": expected probs of [", tokens, ", experts], got ", probs.sizes());
  TORCH_CHECK_VALUE(!unpermute.pads || rows % probs.size(1) == 0, op,
                    ": expected sorted_indices of ", probs.size(1), " times a capacity, got ",
                    rows);
  if (unpermute.pads) return;
  TORCH_CHECK_VALUE(given(unpermute.map), op, ": expected routing_map with probs, got None");
  check_map(op, *unpermute.map, tokens);
  check_probs(op, unpermute.probs, unpermute.map->sizes());
}

std::int64_t choices_a_token(const Unpermute& unpermute) {
  const std::int64_t tokens = unpermute.shape[0];
  return tokens == 0 ? 0 : unpermute.sorted_indices.numel() / tokens;
}

// The weight of each row, in the order of the rows.
at::Tensor row_weights(const Unpermute& unpermute) {
  if (unpermute.pads) return padded_values(*unpermute.probs, unpermute.sorted_indices);
  const at::Tensor& map = *unpermute.map;
  const at::Tensor tokens = mapped_tokens(unpermute.op, map, choices_a_token(unpermute));
  if (map.is_meta()) return at::empty({tokens.numel()}, unpermute.probs->options());
  return unpermute.probs->t().masked_select(by_expert(map));
}

at::Tensor added_by_token(const Unpermute& unpermute, const at::Tensor& rows) {
  const at::Tensor places = unpermute.sorted_indices.reshape({-1});
  if (unpermute.pads) return at::zeros(unpermute.shape, rows.options()).index_add(0, places, rows);
  return rows.index_select(0, places)
      .view({unpermute.shape[0], choices_a_token(unpermute), rows.size(1)})
      .sum(1);
}

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// The second and third result are what the gradient reads: where each token's rows lie, and the
// tokens of these rows; without padding both are sorted_indices.
Four unpermute_for_backward(const at::Tensor& permuted, const at::Tensor& sorted_indices,
                            at::IntArrayRef restore_shape, const MaybeTensor& probs,
                            const MaybeTensor& map, bool drop_and_pad) {
  constexpr const char* kOp = "npu_moe_token_unpermute_with_routing_map";
  const Unpermute unpermute{kOp, sorted_indices, map, probs, drop_and_pad, restore_shape};
  check_unpermute(unpermute);
  TORCH_CHECK_VALUE(permuted.dim() == 2 && permuted.size(0) == sorted_indices.numel() &&
                        permuted.size(1) == restore_shape[1],
                    kOp, ": expected permuted_tokens of [", sorted_indices.numel(), ", ",
                    restore_shape[1], "], got ", permuted.sizes());
  at::Tensor rows = widened(permuted);
  at::Tensor weights;
  if (given(probs)) {
    weights = row_weights(unpermute);
    rows = rows * widened(weights).unsqueeze(1);
  }
  const at::Tensor tokens = added_by_token(unpermute, rows).to(permuted.scalar_type());
  if (!drop_and_pad) return {tokens, sorted_indices.clone(), sorted_indices.clone(), weights};
  const at::Tensor order = stable_order(sorted_indices.reshape({-1}));
  return {tokens, order.to(sorted_indices.scalar_type()),
          sorted_indices.reshape({-1}).index_select(0, order), weights};
}

at::Tensor unpermute_with_map(const at::Tensor& permuted, const at::Tensor& sorted_indices,
                              at::IntArrayRef restore_shape, const MaybeTensor& probs,
                              const MaybeTensor& map, bool drop_and_pad) {
  return std::get<0>(
      unpermute_for_backward(permuted, sorted_indices, restore_shape, probs, map, drop_and_pad));
}

// As op-plugin has it: where a gradient may be wanted, the form that also keeps what it needs.
at::Tensor unpermute_differentiably(const at::Tensor& permuted, const at::Tensor& sorted_indices,
                                    at::IntArrayRef restore_shape, const MaybeTensor& probs,
                                    const MaybeTensor& map, bool drop_and_pad) {
  static const auto form =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("npu::_npu_moe_token_unpermute_with_routing_map", "")
          .typed<Four(const at::Tensor&, const at::Tensor&, at::IntArrayRef, const MaybeTensor&,
                      const MaybeTensor&, bool)>();
  return std::get<0>(form.call(permuted, sorted_indices, restore_shape, probs, map, drop_and_pad));
}

// The gradient of each row's token, in the order of the rows.
at::Tensor row_gradients(const Unpermute& unpermute, const at::Tensor& grad,
                         const at::Tensor& out_index, const at::Tensor& token) {
  const at::Tensor place = out_index.reshape({-1}).to(at::kLong);
  const at::Tensor each =
      unpermute.pads ? grad.index_select(0, token.reshape({-1}))
                     : grad.unsqueeze(1)
                           .expand({grad.size(0), choices_a_token(unpermute), grad.size(1)})
                           .reshape({-1, grad.size(1)});
  return at::empty_like(each).index_copy(0, place, each);
}

std::tuple<at::Tensor, at::Tensor> unpermute_with_map_grad(
    const at::Tensor& grad, const at::Tensor& out_index, const at::Tensor& permuted_token_id,
    const MaybeTensor& map, const MaybeTensor& permuted_tokens, const MaybeTensor& probs,
    bool drop_and_pad, at::IntArrayRef restore_shape) {
  constexpr const char* kOp = "npu_moe_token_unpermute_with_routing_map_grad";
  const std::int64_t rows = out_index.numel();
  check_indices({kOp, "out_index"}, out_index, 0, rows);
  // sorted_indices, as the forward operator was given them.
  const at::Tensor sorted = drop_and_pad
                                ? permuted_token_id.reshape({-1}).index_select(
                                      0, inverse_order(out_index.reshape({-1}).to(at::kLong)))
                                : out_index;
  const Unpermute unpermute{kOp, sorted, map, probs, drop_and_pad, restore_shape};
  check_unpermute(unpermute);
  TORCH_CHECK_VALUE(grad.sizes() == restore_shape, kOp, ": expected unpermuted_tokens_grad of ",
                    restore_shape, ", the restore_shape, got ", grad.sizes());
  const at::Tensor each = row_gradients(unpermute, widened(grad), out_index, permuted_token_id);
  if (!given(probs)) return {each.to(grad.scalar_type()), at::Tensor()};
  TORCH_CHECK_VALUE(given(permuted_tokens) && permuted_tokens->sizes() == each.sizes(), kOp,
                    ": expected permuted_tokens of ", each.sizes(),
                    ", which the gradient of probs needs, got ",
                    given(permuted_tokens) ? permuted_tokens->sizes() : at::IntArrayRef{});
  const at::Tensor weights = widened(row_weights(unpermute));
  const at::Tensor of_weights = (each * widened(*permuted_tokens)).sum(1);
  const at::Tensor of_probs = drop_and_pad ? scattered_by_place(of_weights, sorted, probs->sizes())
                                           : scattered_by_map(of_weights, *map);
  return {(each * weights.unsqueeze(1)).to(grad.scalar_type()), of_probs.to(grad.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&permute_with_map>(m, "npu_moe_token_permute_with_routing_map");
  composed_kernel<&permute_with_map_grad>(m, "npu_moe_token_permute_with_routing_map_grad");
  derivative(m, "npu_moe_token_permute_with_routing_map",
             "tokens, probs: npu_moe_token_permute_with_routing_map_grad(grad0, grad1, result2, "
             "routing_map, routing_map.size1, tokens.size0, drop_and_pad)");
  composed_kernel<&unpermute_with_map>(m, "npu_moe_token_unpermute_with_routing_map");
  m.impl("npu_moe_token_unpermute_with_routing_map",
         torch::dispatch(c10::DispatchKey::Autograd, TORCH_FN(unpermute_differentiably)));
  composed_kernel<&unpermute_for_backward>(m, "_npu_moe_token_unpermute_with_routing_map");
  composed_kernel<&unpermute_with_map_grad>(m, "npu_moe_token_unpermute_with_routing_map_grad");
  derivative(m, "_npu_moe_token_unpermute_with_routing_map",
             "permuted_tokens, probs: npu_moe_token_unpermute_with_routing_map_grad(grad, "
             "result1, result2, routing_map, permuted_tokens, probs, drop_and_pad, "
             "restore_shape)");
}

}  // namespace
}  // namespace npu_sim::ops
