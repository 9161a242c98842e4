// Matrix factorisations and Fourier transforms that the card has.
#include <algorithm>
#include <bit>

#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using model::MatmulWork;
using model::Work;

// A blocked factorisation of [batch, n, n] spends its time in matrix products; it counts as the one
// product [n, n] @ [n, k] of as many operations. Operation counts: Golub and Van Loan.
Work factorisation(const at::Tensor& matrix, std::int64_t numerator, std::int64_t denominator) {
  const std::int64_t m = size_along(matrix, -2);
  const std::int64_t n = size_along(matrix, -1);
  const std::int64_t least = std::min(m, n);
  return MatmulWork{.batch = ratio(matrix.numel(), m * n),
                    .m = m,
                    .n = n,
                    .k = std::max<std::int64_t>(least * numerator / denominator, 1),
                    .a = format_of(matrix),
                    .b = format_of(matrix),
                    .out = format_of(matrix)};
}

// 2 n^3 * numerator / denominator operations on the matrix at argument 0.
template <std::int64_t numerator, std::int64_t denominator>
Work factor(const Call& call) {
  return factorisation(tensor_at(call, 0), numerator, denominator);
}

// A triangular system [n, n] with right sides [n, sides]: n^2 * sides operations.
template <std::size_t matrix, std::size_t right>
Work solve_triangular(const Call& call) {
  const at::Tensor& a = tensor_at(call, matrix);
  const at::Tensor& b = tensor_at(call, right);
  const std::int64_t n = size_along(a, -1);
  const std::int64_t sides = size_along(b, -1) == n ? size_along(b, -2) : size_along(b, -1);
  return MatmulWork{.batch = ratio(elements_of(output_of(call)), n * sides),
                    .m = n,
                    .n = sides,
                    .k = std::max<std::int64_t>(n / 2, 1),
                    .a = format_of(a),
                    .b = format_of(b),
                    .out = format_of(a)};
}

// Mixed-radix passes over each transformed axis: 5 n log2 n operations a complex row, of which two
// are one fused multiply-add.
Work fourier(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const at::Tensor& widest =
      elements_of(output_of(call)) > elements_of(input) ? output_of(call) : input;
  std::int64_t columns = 1;
  if (call.arguments.size() > 1 && call.arguments[1].isList()) {
    for (const c10::IValue& dim : call.arguments[1].toListRef()) {
      if (dim.isInt()) columns *= size_along(widest, dim.toInt());
    }
  }
  const auto steps = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(columns)));
  return row_wise(call, columns, {.linear = 3 * steps, .reductions = 0, .passes = 2});
}

constexpr Entry kLinalg[] = {
    {"linalg_cholesky", factor<1, 6>},
    {"linalg_cholesky_ex", factor<1, 6>},
    {"cholesky", factor<1, 6>},
    {"linalg_qr", factor<2, 3>},
    {"linalg_inv_ex", factor<1, 1>},
    {"inverse", factor<1, 1>},
    {"slogdet", factor<1, 3>},
    {"_linalg_slogdet", factor<1, 3>},
    {"_linalg_svd", factor<11, 1>},
    {"linalg_solve_triangular", solve_triangular<0, 1>},
    {"triangular_solve", solve_triangular<1, 0>},
    {"linalg_cross", elements<6>},
    {"_compute_linear_combination", elements<2>},
};

constexpr Entry kFourier[] = {
    {"_fft_r2c", fourier},
    {"_fft_c2r", fourier},
    {"_fft_c2c", fourier},
};

}  // namespace

Entries linalg_entries() { return kLinalg; }
Entries fourier_entries() { return kFourier; }

}  // namespace npu_sim::aten
