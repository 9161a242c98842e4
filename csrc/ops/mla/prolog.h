// Arguments and modes of npu_mla_prolog_v3, checked, and what follows from them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "compute/format/element.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

enum class WeightQuant : std::uint8_t { kNone, kUpInt8, kInt8, kMxFp8, kFp8, kHifloat8 };
enum class CacheQuant : std::uint8_t { kNone, kTensor, kChannel, kTile };

struct PrologTensors {
  at::Tensor x;        // token_x [T, He] or [B, S, He]
  at::Tensor down;     // weight_dq [He, Hcq]
  at::Tensor up;       // weight_uq_qr [Hcq, N (D + Dr)]
  at::Tensor absorb;   // weight_uk [N, D, Hckv]
  at::Tensor keys;     // weight_dkv_kr [He, Hckv + Dr]
  at::Tensor gamma_q;  // [Hcq]
  at::Tensor gamma_k;  // [Hckv]
  at::Tensor sin;      // [T, Dr] or [B, S, Dr]
  at::Tensor cos;
  at::Tensor kv_cache;
  at::Tensor kr_cache;
};

struct PrologScales {  // undefined where not given
  at::Tensor x;
  at::Tensor down;
  at::Tensor up;
  at::Tensor keys;
  at::Tensor ckv;
  at::Tensor ckr;
  at::Tensor smooth;
  at::Tensor clip;
};

struct Prolog {
  const char* op = nullptr;
  PrologTensors tensors;
  PrologScales scales;
  at::Tensor cache_index;     // undefined where not given
  at::Tensor actual_seq_len;  // undefined where not given
  double epsilon_q = 0;
  double epsilon_k = 0;
  std::string_view cache_mode;
  bool gives_norm = false;
  WeightQuant weights = WeightQuant::kNone;
  CacheQuant cache = CacheQuant::kNone;
  std::int64_t tile = 128;
  double query_factor = 1;
  double key_factor = 1;

  [[nodiscard]] std::int64_t heads() const { return tensors.absorb.size(0); }
  [[nodiscard]] std::int64_t nope() const { return tensors.absorb.size(1); }
  [[nodiscard]] std::int64_t latent() const { return tensors.absorb.size(2); }
  [[nodiscard]] std::int64_t rope() const { return tensors.sin.size(-1); }
  [[nodiscard]] std::int64_t tokens() const {
    return tensors.sin.size(0) * (tensors.sin.dim() == 3 ? tensors.sin.size(1) : 1);
  }
  // token_x, weight_dq and weight_dkv_kr are quantised.
  [[nodiscard]] bool quantises_all() const { return weights >= WeightQuant::kInt8; }
  // The query leaves quantised, a scale a token and head.
  [[nodiscard]] bool quantises_query() const {
    return quantises_all() && cache == CacheQuant::kTensor;
  }
  // The 8-bit format of weights and caches.
  [[nodiscard]] compute::Element element() const;
};

// The numbers of the schema's modes.
struct PrologModes {
  std::int64_t weight_quant = 0;
  std::int64_t cache_quant = 0;
  std::int64_t query_quant = 0;
  std::int64_t repo = 0;
  std::int64_t scale_repo = 0;
};

// Sets the modes; raises ValueError on a combination that the card lacks.
void set_modes(Prolog& prolog, const PrologModes& modes);

// Raises ValueError or TypeError, naming the argument, unless all shapes and dtypes fit the modes.
void check_prolog(const Prolog& prolog);

// Writes the rows of keys: `latent` [T, Hckv] and `rope` [T, Dr] in fp32, as the modes store them.
void store_keys(const Prolog& prolog, const at::Tensor& latent, const at::Tensor& rope);

}  // namespace npu_sim::ops
