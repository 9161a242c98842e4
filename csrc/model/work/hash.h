// A hash of a Work, to memoize costs by it. Equal works hash equally; every field counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "model/work/work.h"

namespace npu_sim::model {
namespace detail {

// Folds numbers into 64 bits with a multiply-xorshift a number (constants of splitmix64).
class Hasher {
 public:
  explicit Hasher(std::size_t kind) : state_(kind * 0x9E3779B97F4A7C15ULL + 1) {}

  template <class... Fields>
  [[nodiscard]] std::size_t operator()(Fields... fields) {
    (fold(bits_of(fields)), ...);
    state_ ^= state_ >> 31;
    state_ *= 0x94D049BB133111EBULL;
    return static_cast<std::size_t>(state_ ^ (state_ >> 29));
  }

 private:
  template <class Field>
  static std::uint64_t bits_of(Field field) {
    if constexpr (std::is_same_v<Field, Bytes>) {
      return static_cast<std::uint64_t>(field.count());
    } else {
      return static_cast<std::uint64_t>(field);
    }
  }

  void fold(std::uint64_t bits) {
    state_ = (state_ ^ bits) * 0xBF58476D1CE4E5B9ULL;
    state_ ^= state_ >> 32;
  }

  std::uint64_t state_;
};

// The bindings name every field on purpose: a new field in a Work does not compile until it is
// hashed here.
struct HashFields {
  Hasher hasher;

  std::size_t operator()(const NoWork&) { return hasher(0); }
  std::size_t operator()(const VectorWork& work) {
    const auto& [elements, read, written, compute, linear, special] = work;
    return hasher(elements, read, written, compute, linear, special);
  }
  std::size_t operator()(const MatmulWork& work) {
    const auto& [batch, m, n, k, a, b, out, a_t, b_t, shared, adds, added] = work;
    return hasher(batch, m, n, k, a, b, out, a_t, b_t, shared, adds, added);
  }
  std::size_t operator()(const RowWork& work) {
    const auto& [rows, columns, read, written, compute, linear, special, reductions, passes] = work;
    return hasher(rows, columns, read, written, compute, linear, special, reductions, passes);
  }
  std::size_t operator()(const CopyWork& work) {
    const auto& [route, read, written, run, span, transposed, to, group, pitch, sweeps, sliced] =
        work;
    return hasher(route, read, written, run, span, transposed, to, group, pitch, sweeps, sliced);
  }
  std::size_t operator()(const GatherWork& work) {
    const auto& [items, item, index, written, read, scatter, adds, table, waits, scalars, choices,
                 run] = work;
    return hasher(items, item, index, written, read, scatter, adds, table, waits, scalars, choices,
                  run);
  }
  std::size_t operator()(const SortWork& work) {
    const auto& [rows, columns, k, format, written] = work;
    return hasher(rows, columns, k, format, written);
  }
  std::size_t operator()(const AttentionWork& work) {
    const auto& [batch, qh, kvh, q, kv, qk, v, format, causal, backward, mask, v_in_k, window,
                 kv_block, kv_row] = work;
    return hasher(batch, qh, kvh, q, kv, qk, v, format, causal, backward, mask, v_in_k, window,
                  kv_block, kv_row);
  }
  std::size_t operator()(const GroupedMatmulWork& work) {
    const auto& [rows, n, k, a, b, out] = work;
    return hasher(rows.hash(), n, k, a, b, out);
  }
  std::size_t operator()(const ConvolutionWork& work) {
    const auto& [pass, batch, groups, in, out, in_p, out_p, kernel, format] = work;
    return hasher(pass, batch, groups, in, out, in_p, out_p, kernel, format);
  }
  std::size_t operator()(const HostWork& work) {
    const auto& [to_host, to_device, traffic] = work;
    return hasher(to_host, to_device, traffic);
  }
  std::size_t operator()(const UndescribedWork& work) {
    const auto& [read, written] = work;
    return hasher(read, written);
  }
};

}  // namespace detail

// The hash for unordered containers and tables keyed by Work.
struct WorkHash {
  [[nodiscard]] std::size_t operator()(const Work& work) const {
    return std::visit(detail::HashFields{detail::Hasher(work.index())}, work);
  }
};

}  // namespace npu_sim::model
