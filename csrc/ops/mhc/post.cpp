// npu_mhc_post: the streams mixed by h_res, plus the block's output h_out shared out by h_post.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/mhc/streams.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: one multiply-add a stream and one for the block's output, an output element.
model::Work post_work(const aten::Call& call) {
  const std::int64_t streams = aten::size_along(call.argument(0), -2);
  const bool mixes = aten::tensor_at(call, 1).defined();
  return aten::element_wise(call, static_cast<int>(mixes ? streams + 1 : 2), 0);
}
model::Work post_backward_work(const aten::Call& call) {
  const std::int64_t streams = aten::size_along(call.argument(1), -2);
  return aten::element_wise(call, static_cast<int>(2 * streams + 2), 0);
}
constexpr aten::Entry kEntries[] = {
    {"npu_mhc_post", post_work},
    {"npu_mhc_post_backward", post_backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
void check_post(const char* op, const at::Tensor& x, const std::optional<at::Tensor>& h_res,
                const at::Tensor& h_out, const at::Tensor& h_post) {
  const std::int64_t n = streams_of(op, x);
  std::vector<std::int64_t> tokens(x.sizes().begin(), x.sizes().end() - 2);
  const auto with = [&tokens](std::initializer_list<std::int64_t> last) {
    std::vector<std::int64_t> shape = tokens;
    shape.insert(shape.end(), last);
    return shape;
  };
  check_shape(op, "h_out", h_out, with({x.size(-1)}));
  check_shape(op, "h_post", h_post, with({n}));
  if (given(h_res)) check_shape(op, "h_res", *h_res, with({n, n}));
}

at::Tensor post(const at::Tensor& x, const std::optional<at::Tensor>& h_res,
                const at::Tensor& h_out, const at::Tensor& h_post) {
  check_post("npu_mhc_post", x, h_res, h_out, h_post);
  const at::Tensor wide = widened(x);
  const at::Tensor shared = h_post.unsqueeze(-1) * widened(h_out).unsqueeze(-2);
  // Stream j of the result is the sum over i of h_res[i, j] x[i].
  const at::Tensor mixed = given(h_res) ? at::matmul(h_res->transpose(-1, -2), wide) : wide;
  return (shared + mixed).to(x.scalar_type());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> post_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const std::optional<at::Tensor>& h_res,
    const at::Tensor& h_out, const at::Tensor& h_post) {
  check_post("npu_mhc_post_backward", x, h_res, h_out, h_post);
  check_shape("npu_mhc_post_backward", "grad_y", grad_y, x.sizes());
  const at::Tensor grad = widened(grad_y);
  const at::Tensor dx = given(h_res) ? at::matmul(*h_res, grad) : grad;
  const at::Tensor dh_res =
      given(h_res) ? at::matmul(widened(x), grad.transpose(-1, -2)) : at::Tensor();
  const at::Tensor dh_out = (grad * h_post.unsqueeze(-1)).sum(-2);
  const at::Tensor dh_post = (grad * widened(h_out).unsqueeze(-2)).sum(-1);
  return {dx.to(x.scalar_type(), false, true), dh_res, dh_out.to(h_out.scalar_type()), dh_post};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&post>(m, "npu_mhc_post");
  composed_kernel<&post_backward>(m, "npu_mhc_post_backward");
  derivative(m, "npu_mhc_post",
             "x, h_res, h_out, h_post: npu_mhc_post_backward(grad, x, h_res, h_out, h_post)");
}

}  // namespace
}  // namespace npu_sim::ops
