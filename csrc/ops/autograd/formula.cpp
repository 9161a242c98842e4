#include "ops/autograd/formula.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace npu_sim::ops {
namespace {

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto comma = text.find(',');
    parts.push_back(trim(text.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

std::optional<std::size_t> argument_named(const c10::FunctionSchema& schema,
                                          std::string_view name) {
  const auto& arguments = schema.arguments();
  const auto found = std::ranges::find(arguments, name, &c10::Argument::name);
  if (found == arguments.end()) return std::nullopt;
  return static_cast<std::size_t>(found - arguments.begin());
}

// "input.sizes" -> the argument `input` for the property ".sizes".
std::optional<std::size_t> property_of(const c10::FunctionSchema& schema, std::string_view token,
                                       std::string_view property) {
  if (!token.ends_with(property)) return std::nullopt;
  return argument_named(schema, token.substr(0, token.size() - property.size()));
}

// "result2" -> 2 for the prefix "result"; a bare prefix is 0.
std::optional<std::size_t> numbered(std::string_view token, std::string_view prefix) {
  if (!token.starts_with(prefix)) return std::nullopt;
  token.remove_prefix(prefix.size());
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
  if (token.empty()) return 0;
  if (error != std::errc() || end != token.data() + token.size()) return std::nullopt;
  return index;
}

Source source_of(const c10::FunctionSchema& forward, std::string_view token) {
  using Kind = Source::Kind;
  if (const auto argument = argument_named(forward, token)) return {Kind::kArgument, *argument};
  if (token == "grad_input_mask") return {Kind::kWanted, 0};
  if (const auto tensor = property_of(forward, token, ".sizes")) return {Kind::kSizes, *tensor};
  if (const auto tensor = property_of(forward, token, ".dtype")) return {Kind::kDtype, *tensor};
  if (const auto dot = token.find('.'); dot != std::string_view::npos) {
    const auto tensor = argument_named(forward, token.substr(0, dot));
    const auto axis = numbered(token.substr(dot + 1), "size");
    if (tensor && axis) return {Kind::kSize, *tensor, *axis};
  }
  if (token.starts_with('!')) {
    if (const auto flag = argument_named(forward, token.substr(1))) return {Kind::kNot, *flag};
  }
  if (const auto number = numbered(token, ""); number && !token.empty()) {
    return {Kind::kNumber, *number};
  }
  const std::size_t results = forward.returns().size();
  if (const auto grad = numbered(token, "grad"); grad && *grad < results)
    return {Kind::kGrad, *grad};
  if (const auto result = numbered(token, "result"); result && *result < results) {
    return {Kind::kResult, *result};
  }
  TORCH_INTERNAL_ASSERT(false, "derivative of ", forward.name(), ": no argument or result '", token,
                        "'");
}

std::vector<Source> sources_of(const c10::FunctionSchema& forward,
                               const c10::FunctionSchema& backward, std::string_view list) {
  std::vector<Source> sources(backward.arguments().size());
  std::size_t position = 0;
  for (const std::string_view token : split(list)) {
    const auto equals = token.find('=');
    if (equals == std::string_view::npos) {
      sources.at(position++) = source_of(forward, token);
      continue;
    }
    const auto keyword = argument_named(backward, trim(token.substr(0, equals)));
    TORCH_INTERNAL_ASSERT(keyword.has_value(), backward.name(), ": no argument of ", token);
    sources.at(*keyword) = source_of(forward, trim(token.substr(equals + 1)));
  }
  return sources;
}

// "bias: grad"
Passed passed_by(const c10::FunctionSchema& forward, std::string_view text) {
  const auto colon = text.find(':');
  TORCH_INTERNAL_ASSERT(colon != std::string_view::npos, "derivative of ", forward.name(),
                        ": expected 'input: grad', got '", text, "'");
  const auto argument = argument_named(forward, trim(text.substr(0, colon)));
  const Source source = source_of(forward, trim(text.substr(colon + 1)));
  TORCH_INTERNAL_ASSERT(argument.has_value() && source.kind == Source::Kind::kGrad,
                        "derivative of ", forward.name(), ": no argument and gradient in '", text,
                        "'");
  return {.argument = *argument, .grad = source.index};
}

}  // namespace

bool Formula::reads_grad(std::size_t index) const {
  return std::ranges::any_of(sources,
                             [index](const Source& source) {
                               return source.kind == Source::Kind::kGrad && source.index == index;
                             }) ||
         std::ranges::any_of(passed, [index](const Passed& one) { return one.grad == index; });
}

Formula parse_formula(const c10::OperatorHandle& forward, std::string_view text) {
  const auto semicolon = text.find(';');
  const std::string_view tail =
      semicolon == std::string_view::npos ? std::string_view{} : trim(text.substr(semicolon + 1));
  text = text.substr(0, semicolon);
  const auto colon = text.find(':');
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  TORCH_INTERNAL_ASSERT(colon < open && open < close, "derivative of ", forward.schema().name(),
                        ": expected 'inputs: operator(arguments)', got '", text, "'");
  const std::string name = "npu::" + std::string(trim(text.substr(colon + 1, open - colon - 1)));
  Formula formula{.forward = forward,
                  .backward = c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), ""),
                  .inputs = {},
                  .sources = {},
                  .passed = {}};
  for (const std::string_view input : split(text.substr(0, colon))) {
    const auto index = argument_named(forward.schema(), input);
    TORCH_INTERNAL_ASSERT(index.has_value() || input == "_", name, ": no argument '", input, "'");
    formula.inputs.push_back(index ? static_cast<std::ptrdiff_t>(*index) : -1);
  }
  formula.sources = sources_of(forward.schema(), formula.backward.schema(),
                               text.substr(open + 1, close - open - 1));
  if (!tail.empty()) formula.passed.push_back(passed_by(forward.schema(), tail));
  return formula;
}

}  // namespace npu_sim::ops
