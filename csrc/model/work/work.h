// What a kernel asks of the machine: plain structs of shapes, formats and bytes. No tensor, no
// time.
//
// Every struct is a comparable aggregate, so that a cost can be memoized by Work.
#pragma once

#include <variant>

#include "model/work/cube_work.h"
#include "model/work/data_work.h"
#include "model/work/vector_work.h"

namespace npu_sim::model {

using Work =
    std::variant<NoWork, VectorWork, MatmulWork, RowWork, CopyWork, GatherWork, SortWork,
                 AttentionWork, GroupedMatmulWork, ConvolutionWork, HostWork, UndescribedWork>;

}  // namespace npu_sim::model
