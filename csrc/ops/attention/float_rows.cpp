#include "ops/attention/float_rows.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace npu_sim::ops::flash {
namespace {

// The compiler makes AVX2 and plain versions and the loader picks one; not under ThreadSanitizer,
// whose runtime is not there yet when the loader asks.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define NPU_SIM_CLONED __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define NPU_SIM_CLONED
#endif

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Words = std::uint32_t __attribute__((vector_size(kLanes * sizeof(float))));
using Halves = std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
using Flags = std::uint8_t __attribute__((vector_size(kLanes)));

constexpr float kLowest = -std::numeric_limits<float>::infinity();

template <class Vector>
[[gnu::always_inline]] inline void load(Vector& to, const void* from) {
  std::memcpy(&to, from, sizeof to);
}

template <class Vector>
[[gnu::always_inline]] inline void store(void* to, const Vector& from) {
  std::memcpy(to, &from, sizeof from);
}

template <class To, class From>
[[gnu::always_inline]] inline void reinterpret(To& to, const From& from) {
  static_assert(sizeof to == sizeof from);
  std::memcpy(&to, &from, sizeof to);
}

// x becomes exp(x) for x <= 0, with an error of 1e-7 of it: 2^n times a polynomial of the rest.
// Source of the coefficients: S. Moshier, Cephes, expf.
[[gnu::always_inline]] inline void exponential(Lanes& x) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  constexpr float kLeast = -87.3F;       // exp of less is below the least normal number
  Lanes n = x * 1.44269504F + kShift;
  Words exponent;
  reinterpret(exponent, n);
  exponent = (exponent << 23) + (127U << 23);
  Lanes power;
  reinterpret(power, exponent);
  n -= kShift;
  const Lanes r = x - n * 0.693359375F + n * 2.12194440E-4F;
  Lanes p = r * 1.9875691500E-4F + 1.3981999507E-3F;
  p = p * r + 8.3334519073E-3F;
  p = p * r + 4.1665795894E-2F;
  p = p * r + 1.6666665459E-1F;
  p = p * r + 5.0000001201E-1F;
  p = (p * r * r + r + 1.0F) * power;
  x = x < kLeast ? Lanes{} : p;
}

[[gnu::always_inline]] inline float sum_of(const Lanes& x) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  return sum;
}

NPU_SIM_CLONED void widen_bfloat16(const std::uint16_t* from, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Halves x;
    load(x, from + i);
    store(to + i, __builtin_convertvector(x, Words) << 16);
  }
  for (; i < count; ++i) {
    const std::uint32_t bits = std::uint32_t{from[i]} << 16;
    std::memcpy(to + i, &bits, sizeof bits);
  }
}

// The exponent's bias moves from 15 to 127 by a product with 2^112, exact for subnormals too;
// infinity and NaN get the largest exponent.
NPU_SIM_CLONED void widen_float16(const std::uint16_t* from, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Halves x;
    load(x, from + i);
    const Words bits = __builtin_convertvector(x, Words);
    const Words magnitude = bits & 0x7FFFU;
    Lanes value;
    reinterpret(value, magnitude << 13);
    value *= 5.192296858534828e33F;
    Words result;
    reinterpret(result, value);
    result |= magnitude >= 0x7C00U ? Words{} + 0x7F800000U : Words{};
    store(to + i, result | ((bits & 0x8000U) << 16));
  }
  for (; i < count; ++i) to[i] = static_cast<float>(c10::Half(from[i], c10::Half::from_bits()));
}

template <class Element>
void narrow_to(const float* from, float factor, std::int64_t count, void* to) {
  auto* const elements = static_cast<Element*>(to);
  for (std::int64_t i = 0; i < count; ++i) elements[i] = static_cast<Element>(from[i] * factor);
}

}  // namespace

bool is_row_dtype(c10::ScalarType dtype) {
  return dtype == c10::ScalarType::Float || dtype == c10::ScalarType::BFloat16 ||
         dtype == c10::ScalarType::Half;
}

void widen(const void* from, c10::ScalarType dtype, std::int64_t count, float* to) {
  if (dtype == c10::ScalarType::Float) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
  } else if (dtype == c10::ScalarType::BFloat16) {
    widen_bfloat16(static_cast<const std::uint16_t*>(from), count, to);
  } else {
    widen_float16(static_cast<const std::uint16_t*>(from), count, to);
  }
}

void narrow(const float* from, float factor, std::int64_t count, c10::ScalarType dtype, void* to) {
  if (dtype == c10::ScalarType::Float) {
    auto* const row = static_cast<float*>(to);
    std::copy_n(from, count, row);
    scale(row, factor, count);
  } else if (dtype == c10::ScalarType::BFloat16) {
    narrow_to<c10::BFloat16>(from, factor, count, to);
  } else {
    narrow_to<c10::Half>(from, factor, count, to);
  }
}

void pad(float* row, std::int64_t count) {
  for (std::int64_t i = count; i < padded(count); ++i) row[i] = kLowest;
}

NPU_SIM_CLONED void hide(float* row, const std::uint8_t* hidden, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Flags flags;
    load(flags, hidden + i);
    Lanes x;
    load(x, row + i);
    x = __builtin_convertvector(flags, Words) != 0U ? Lanes{} + kLowest : x;
    store(row + i, x);
  }
  for (; i < count; ++i) row[i] = hidden[i] != 0 ? kLowest : row[i];
}

NPU_SIM_CLONED void add(float* row, const float* added, float factor, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Lanes x;
    Lanes y;
    load(x, row + i);
    load(y, added + i);
    x += y * factor;
    store(row + i, x);
  }
  for (; i < count; ++i) row[i] += added[i] * factor;
}

NPU_SIM_CLONED void scale(float* row, float factor, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Lanes x;
    load(x, row + i);
    x *= factor;
    store(row + i, x);
  }
  for (; i < count; ++i) row[i] *= factor;
}

NPU_SIM_CLONED float greatest(const float* row, std::int64_t count) {
  Lanes most = Lanes{} + kLowest;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Lanes x;
    load(x, row + i);
    most = x > most ? x : most;
  }
  float result = kLowest;
  for (int i = 0; i < kLanes; ++i) result = most[i] > result ? most[i] : result;
  return result;
}

NPU_SIM_CLONED float raise(float* row, float base, std::int64_t count) {
  Lanes sum{};
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Lanes x;
    load(x, row + i);
    x -= base;
    exponential(x);
    store(row + i, x);
    sum += x;
  }
  return sum_of(sum);
}

NPU_SIM_CLONED float dot(const float* a, const float* b, std::int64_t count) {
  Lanes sum{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Lanes x;
    Lanes y;
    load(x, a + i);
    load(y, b + i);
    sum += x * y;
  }
  float result = sum_of(sum);
  for (; i < count; ++i) result += a[i] * b[i];
  return result;
}

NPU_SIM_CLONED void softmax_gradient(const float* p, float* dp, float delta, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Lanes x;
    Lanes y;
    load(x, p + i);
    load(y, dp + i);
    y = x * (y - delta);
    store(dp + i, y);
  }
}

}  // namespace npu_sim::ops::flash
