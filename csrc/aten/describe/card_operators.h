// Which ATen operators the card runs itself.
#pragma once

#include <string_view>

namespace npu_sim::aten {

// Whether an aclnn kernel of the operator `base` (no namespace, overload or in-place mark) exists.
[[nodiscard]] bool is_card_operator(std::string_view base);

// Whether the card runs `base` although no kernel has that name: it is a chain of kernels that the
// card has, or the card's kernel for it has another name.
[[nodiscard]] bool is_composed_on_card(std::string_view base);

}  // namespace npu_sim::aten
