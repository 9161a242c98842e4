// Native sparse attention (npu_nsa_*) and npu_block_sparse_attention: kernels of the cards before
// the Ascend 950, which refuses them.
//
// Source: the tables of products in cann/ops-transformer, aclnnNsa*.md and
// aclnnBlockSparseAttention*.md.
#include <c10/util/Exception.h>

#include <string>

#include "ops/attention/boxed_kernel.h"
#include "ops/attention/card_lacks.h"

namespace npu_sim::ops {
namespace {

void lacking(const c10::OperatorHandle& op, torch::jit::Stack* /*stack*/) {
  const std::string& qualified = op.schema().name();
  const std::string name = qualified.substr(qualified.find("::") + 2);
  refuse_on_950(name.c_str(), "npu_sparse_flash_attention or npu_fused_infer_attention_score");
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, name, ": not built for the cards that have it; docs/operators.md lists what is");
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  for (const char* const name :
       {"npu_nsa_compress", "npu_nsa_compress_grad", "npu_nsa_compress_infer.cache",
        "npu_nsa_compress_attention", "npu_nsa_compress_attention_infer",
        "npu_nsa_select_attention", "npu_nsa_select_attention_grad",
        "npu_nsa_select_attention_infer", "npu_block_sparse_attention",
        "npu_block_sparse_attention_backward"}) {
    boxed_kernel<&lacking>(m, name);
  }
}

}  // namespace
}  // namespace npu_sim::ops
