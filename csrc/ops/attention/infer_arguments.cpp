#include "ops/attention/infer_arguments.h"

#include <c10/core/SymInt.h>

namespace npu_sim::ops {
namespace {

InferQuantisation quantisation_in(const InferArguments& arguments) {
  const auto mode = [&](InferArguments::Names names) {
    return arguments.integer(names).value_or(0);
  };
  return {
      .query = {.scale = arguments.tensor({"dequant_scale_query"}),
                .offset = {},
                .mode = mode({"query_quant_mode"}),
                .dtype = arguments.integer({"query_dtype"})},
      .key = {.scale = arguments.tensor({"key_antiquant_scale", "dequant_scale_key"}),
              .offset = arguments.tensor({"key_antiquant_offset", "dequant_offset_key"}),
              .mode = mode({"key_antiquant_mode", "key_quant_mode"}),
              .dtype = arguments.integer({"key_dtype", "value_dtype"})},
      .value = {.scale = arguments.tensor({"value_antiquant_scale", "dequant_scale_value"}),
                .offset = arguments.tensor({"value_antiquant_offset", "dequant_offset_value"}),
                .mode = mode({"value_antiquant_mode", "value_quant_mode"}),
                .dtype = arguments.integer({"value_dtype"})},
      .both_scale = arguments.tensor({"antiquant_scale"}),
      .both_offset = arguments.tensor({"antiquant_offset"}),
      .both_mode = mode({"antiquant_mode"}),
      .product_scale = arguments.tensor({"dequant_scale1", "deq_scale1"}),
      .weight_scale = arguments.tensor({"quant_scale1"}),
      .result_scale = arguments.tensor({"dequant_scale2", "deq_scale2"}),
      .out_scale = arguments.tensor({"quant_scale2", "quant_scale_out"}),
      .out_offset = arguments.tensor({"quant_offset2", "quant_offset_out"}),
      .out_dtype = arguments.integer({"out_dtype"}),
  };
}

}  // namespace

const c10::IValue* InferArguments::find(Names names) const {
  for (const char* const name : names) {
    const std::optional<int> index = schema_.argumentIndexWithName(name);
    if (!index.has_value()) continue;
    const c10::IValue& value = values_[static_cast<std::size_t>(*index)];
    return value.isNone() ? nullptr : &value;
  }
  return nullptr;
}

MaybeTensor InferArguments::tensor(Names names) const {
  const c10::IValue* const value = find(names);
  return value == nullptr ? MaybeTensor() : MaybeTensor(value->toTensor());
}

std::optional<Integers> InferArguments::integers(Names names) const {
  const c10::IValue* const value = find(names);
  if (value == nullptr) return std::nullopt;
  if (value->isIntList()) return value->toIntVector();
  Integers found;
  for (const c10::SymInt& length : value->toSymIntVector()) {
    found.push_back(length.guard_int(__FILE__, __LINE__));
  }
  return found;
}

std::optional<std::int64_t> InferArguments::integer(Names names) const {
  const c10::IValue* const value = find(names);
  return value == nullptr ? std::nullopt : std::optional(value->toInt());
}

std::optional<double> InferArguments::number(Names names) const {
  const c10::IValue* const value = find(names);
  return value == nullptr ? std::nullopt : std::optional(value->toDouble());
}

bool InferArguments::flag(Names names) const {
  const c10::IValue* const value = find(names);
  return value != nullptr && value->toBool();
}

std::string_view InferArguments::text(Names names, std::string_view fallback) const {
  const c10::IValue* const value = find(names);
  return value == nullptr ? fallback : std::string_view(value->toStringRef());
}

std::vector<at::Tensor> InferArguments::tensors(Names names) const {
  const c10::IValue* const value = find(names);
  return value == nullptr ? std::vector<at::Tensor>() : value->toTensorVector();
}

InferCall infer_call(const InferNames& names, const InferArguments& arguments) {
  const at::Tensor value = *arguments.tensor({"value"});
  constexpr std::int64_t kAll = 2147483647;
  return {
      .names = &names,
      .query = *arguments.tensor({"query"}),
      .key = arguments.tensor({"key"}).value_or(value),
      .value = value,
      .query_rope = arguments.tensor({"query_rope"}),
      .key_rope = arguments.tensor({"key_rope"}),
      .bias = arguments.tensor({"pse_shift"}),
      .masking = {.hidden = arguments.tensor({"atten_mask"}),
                  .pre_tokens = arguments.integer({"pre_tokens"}).value_or(kAll),
                  .next_tokens = arguments.integer({"next_tokens"}).value_or(kAll),
                  .sparse_mode = arguments.integer({"sparse_mode"}).value_or(0)},
      .query_lengths = arguments.integers({"actual_seq_lengths", "actual_seq_qlen"}),
      .key_lengths = arguments.integers({"actual_seq_lengths_kv", "actual_seq_kvlen"}),
      .query_padding = arguments.tensor({"query_padding_size"}),
      .key_padding = arguments.tensor({"kv_padding_size"}),
      .block_table = arguments.tensor({"block_table"}),
      .key_prefix = arguments.tensor({"key_shared_prefix"}),
      .value_prefix = arguments.tensor({"value_shared_prefix"}),
      .prefix_length = arguments.integers({"actual_shared_prefix_len"}),
      .sinks = arguments.tensor({"learnable_sink"}),
      .quantisation = quantisation_in(arguments),
      .heads = arguments.integer({"num_heads", "num_query_heads"}).value_or(1),
      .kv_heads = arguments.integer({"num_key_value_heads"}).value_or(0),
      .scale = arguments.number({"scale", "softmax_scale", "scale_value"}).value_or(1),
      .layout = arguments.text({"input_layout"}, "BSH"),
      .wants_lse = arguments.flag({"softmax_lse_flag", "return_softmax_lse"}),
  };
}

}  // namespace npu_sim::ops
