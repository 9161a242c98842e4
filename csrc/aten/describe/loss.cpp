// Losses and their gradients.
#include <algorithm>

#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::Work;

// Element-wise over the prediction; a mean or sum of it costs one more addition an element.
template <int linear, int special = 0>
Work loss(const Call& call) {
  const Traffic traffic = traffic_of(call);
  const std::int64_t elements = elements_of(tensor_at(call, 0));
  const bool reduced = traffic.elements < elements;
  return model::VectorWork{.elements = std::max(elements, traffic.elements),
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = instructions(linear + (reduced ? 1 : 0)),
                           .special_ops = special};
}

// nll_loss(self, target, weight, ...): one element of each row is read.
Work pick_target(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  const at::Tensor& target = tensor_at(call, 1);
  const Bytes item(static_cast<std::int64_t>(self.element_size()));
  return model::GatherWork{.items = elements_of(target),
                           .item = item,
                           .index = bytes_of(target),
                           .written = traffic_of(call).written,
                           .read = item * elements_of(target)};
}

// nll_loss_backward: zeros, and one element of each row.
Work put_target(const Call& call) {
  const at::Tensor& out = output_of(call);
  return model::VectorWork{.elements = elements_of(out),
                           .read = bytes_of(tensor_at(call, 0)) + bytes_of(tensor_at(call, 2)),
                           .written = bytes_of(out),
                           .compute = format_of(out),
                           .linear_ops = 2};
}

// ctc: a step of time joins three states of each of 2 * target + 1 places by log-sum-exp.
Work ctc(const Call& call) {
  const at::Tensor& probabilities = tensor_at(call, 0);
  const Traffic traffic = traffic_of(call);
  return model::RowWork{.rows = size_along(probabilities, 0) * size_along(probabilities, 1),
                        .columns = 2 * size_along(tensor_at(call, 1), -1) + 1,
                        .read = traffic.read,
                        .written = traffic.written,
                        .compute = traffic.compute,
                        .linear_ops = 12,
                        .special_ops = 4};
}

constexpr Entry kEntries[] = {
    {"mse_loss", loss<2>},
    {"mse_loss_backward", loss<3>},
    {"l1_loss", loss<2>},
    {"smooth_l1_loss", loss<6>},
    {"smooth_l1_loss_backward", loss<7>},
    {"huber_loss", loss<6>},
    {"huber_loss_backward", loss<7>},
    {"kl_div", loss<3, 1>},
    {"soft_margin_loss", loss<8, 2>},
    {"soft_margin_loss_backward", loss<5, 2>},
    {"binary_cross_entropy", loss<7, 2>},
    {"binary_cross_entropy_backward", loss<5, 1>},
    {"binary_cross_entropy_with_logits", loss<12, 2>},
    {"multi_margin_loss", loss<4>},
    {"multi_margin_loss_backward", loss<4>},
    {"multilabel_margin_loss", loss<6>},
    {"multilabel_margin_loss_forward", loss<6>},
    {"multilabel_margin_loss_backward", loss<6>},
    {"nll_loss_forward", pick_target},
    {"nll_loss2d_forward", pick_target},
    {"nll_loss_backward", put_target},
    {"nll_loss2d_backward", put_target},
    {"_ctc_loss", ctc},
    {"_ctc_loss_backward", ctc},
};

}  // namespace

Entries loss_entries() { return kEntries; }

}  // namespace npu_sim::aten
