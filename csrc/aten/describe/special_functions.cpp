// Gamma, Bessel, zeta and orthogonal-polynomial functions. The card has none of them as a kernel;
// the counts say what the approximation would take on its vector cores.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

// A Bessel function: two rational approximations of degree 8 to 10, a select, and for large
// arguments a phase and a square root.
constexpr Describer kBessel = elements<60, 3>;
// A three-term recurrence of about 32 steps.
constexpr Describer kRecurrence = elements<96, 1>;
// Stirling's series with argument reflection.
constexpr Describer kGamma = elements<40, 4>;
// The incomplete gamma functions iterate a series or a continued fraction.
constexpr Describer kIncompleteGamma = elements<200, 20>;

constexpr Entry kEntries[] = {
    {"digamma", kGamma},
    {"lgamma", kGamma},
    {"polygamma", kIncompleteGamma},
    {"mvlgamma", kGamma},
    {"igamma", kIncompleteGamma},
    {"igammac", kIncompleteGamma},
    {"special_zeta", kIncompleteGamma},
    {"i0", kBessel},
    {"special_i0e", kBessel},
    {"special_i1", kBessel},
    {"special_i1e", kBessel},
    {"special_airy_ai", kBessel},
    {"special_bessel_j0", kBessel},
    {"special_bessel_j1", kBessel},
    {"special_bessel_y0", kBessel},
    {"special_bessel_y1", kBessel},
    {"special_modified_bessel_i0", kBessel},
    {"special_modified_bessel_i1", kBessel},
    {"special_modified_bessel_k0", kBessel},
    {"special_modified_bessel_k1", kBessel},
    {"special_scaled_modified_bessel_k0", kBessel},
    {"special_scaled_modified_bessel_k1", kBessel},
    {"special_spherical_bessel_j0", elements<17, 1>},
    {"special_chebyshev_polynomial_t", kRecurrence},
    {"special_chebyshev_polynomial_u", kRecurrence},
    {"special_chebyshev_polynomial_v", kRecurrence},
    {"special_chebyshev_polynomial_w", kRecurrence},
    {"special_shifted_chebyshev_polynomial_t", kRecurrence},
    {"special_shifted_chebyshev_polynomial_u", kRecurrence},
    {"special_shifted_chebyshev_polynomial_v", kRecurrence},
    {"special_shifted_chebyshev_polynomial_w", kRecurrence},
    {"special_hermite_polynomial_h", kRecurrence},
    {"special_hermite_polynomial_he", kRecurrence},
    {"special_laguerre_polynomial_l", kRecurrence},
    {"special_legendre_polynomial_p", kRecurrence},
    {"special_entr", elements<4, 1>},
    {"special_erfcx", elements<30, 2>},
    {"special_log_ndtr", elements<30, 3>},
    {"special_ndtri", elements<40, 3>},
    {"special_xlog1py", elements<9, 1>},
};

}  // namespace

Entries special_function_entries() { return kEntries; }

}  // namespace npu_sim::aten
