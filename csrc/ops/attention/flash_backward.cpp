#include "ops/attention/flash_backward.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <cmath>

#include "ops/attention/flash_tile.h"
#include "ops/attention/float_rows.h"

namespace npu_sim::ops::flash {
namespace {

// Memory of a thread, kept from tile to tile.
struct Workspace {
  Buffer queries;  // [rows, width]
  Buffer grads;    // [rows, value width]
  Buffer row;      // [value width]
  Buffer delta;    // [rows]: sum of grad * out
  Buffer base;     // [rows]: greatest score
  Buffer share;    // [rows]: 1 / sum, 0 for a row that sees no key
  Buffer keys;
  Buffer values;
  Buffer weights;    // [rows, padded keys]
  Buffer dropped;    // the same after dropout
  Buffer d_scores;   // the same
  Buffer d_queries;  // [rows, width]
  Buffer bias;
};

std::size_t at_row(std::int64_t row) { return static_cast<std::size_t>(row); }

void read_row(const Strided& rows, std::int64_t elements, float* to) {
  widen(rows.moved(elements).data, rows.dtype, rows.width, to);
}

void start(const QueryTile& tile, const BackwardProblem& on, Workspace& work) {
  const Problem& problem = on.problem;
  const std::int64_t width = problem.value_width;
  gather_queries(tile, sized(work.queries, tile.rows() * problem.width()));
  float* const grads = sized(work.grads, tile.rows() * width);
  float* const row = sized(work.row, width);
  for (Buffer* const buffer : {&work.delta, &work.base, &work.share}) sized(*buffer, tile.rows());
  work.d_queries.assign(at_row(tile.rows() * problem.width()), 0);
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    const std::int64_t head = r / tile.count;
    const std::int64_t query = tile.first + r % tile.count;
    float* const grad = grads + r * width;
    read_row(on.grad, head * on.grad_head_stride + query * on.grad.stride, grad);
    read_row(on.out, head * on.out_head_stride + query * on.out.stride, row);
    const Statistics& statistics = problem.statistics;
    const std::int64_t place = head * statistics.head_stride + query * statistics.row_stride;
    const float sum = statistics.sum[place];
    work.delta[at_row(r)] = dot(grad, row, width);
    work.base[at_row(r)] = sum == 0 ? 0 : statistics.greatest[place];
    work.share[at_row(r)] = sum == 0 ? 0 : 1 / sum;
  }
}

// The weights of a tile, softmax(scores), into work.weights.
void weigh(const QueryTile& tile, const KeyTile& keys, const Rows& key, Workspace& work) {
  float* const weights = sized(work.weights, tile.rows() * padded(keys.count));
  score(tile, keys, {work.queries.data(), key, weights}, work.bias);
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    float* const row = weights + r * padded(keys.count);
    raise(row, work.base[at_row(r)], keys.count);
    scale(row, work.share[at_row(r)], keys.count);
  }
}

// The weights that met the values: those of work.weights, or a dropped copy of them.
const float* kept_weights(const QueryTile& tile, const KeyTile& keys, Workspace& work) {
  if (!tile.problem.dropout.keep) return work.weights.data();
  const std::int64_t count = tile.rows() * padded(keys.count);
  float* const dropped = sized(work.dropped, count);
  std::copy_n(work.weights.data(), count, dropped);
  drop(tile, keys, {dropped, work.d_scores.data()});
  return dropped;
}

void add_bias_gradient(const QueryTile& tile, const KeyTile& keys, const Gradients& gradients,
                       Workspace& work) {
  if (!gradients.bias) return;
  const std::int64_t stride = padded(keys.count);
  const std::int64_t block = tile.count * stride;
  float* const rows = sized(work.weights, block);  // no longer needed as weights
  for (std::int64_t h = 0; h < tile.problem.heads; ++h) {
    std::copy_n(work.d_scores.data() + h * block, block, rows);
    scale(rows, tile.problem.bias.factor, block);
    gradients.bias({h, tile.first, tile.count, keys.first, keys.count}, rows, stride);
  }
}

// With p the weights, o the result and q times the scale: dv += p^T do,
// ds = p (do v^T - sum(do o)), dq += scale ds k, dk += ds^T q.
void add_gradients(const QueryTile& tile, const KeyTile& keys, const BackwardProblem& on,
                   Workspace& work) {
  const Problem& problem = on.problem;
  const std::int64_t rows = tile.rows();
  const std::int64_t width = problem.width();
  const std::int64_t value_width = problem.value_width;
  const std::int64_t stride = padded(keys.count);
  const Rows key = problem.key(keys.first, keys.count, sized(work.keys, keys.count * width));
  const Rows value =
      problem.value(keys.first, keys.count, sized(work.values, keys.count * value_width));
  weigh(tile, keys, key, work);
  float* const d_scores = sized(work.d_scores, rows * stride);
  const Factor grads{{work.grads.data(), value_width}, rows, value_width};
  multiply({d_scores, rows, keys.count, stride}, grads, {value, keys.count, value_width, true}, 1,
           0);
  const Factor kept{{kept_weights(tile, keys, work), stride}, rows, keys.count, true};
  multiply({on.gradients.value + keys.first * value_width, keys.count, value_width, value_width},
           kept, grads, 1, 1);
  for (std::int64_t r = 0; r < rows; ++r) {
    softmax_gradient(work.weights.data() + r * stride, d_scores + r * stride, work.delta[at_row(r)],
                     keys.count);
  }
  multiply({work.d_queries.data(), rows, width, width}, {{d_scores, stride}, rows, keys.count},
           {key, keys.count, width}, problem.scale, 1);
  multiply({on.gradients.key + keys.first * width, keys.count, width, width},
           {{d_scores, stride}, rows, keys.count, true},
           {{work.queries.data(), width}, rows, width}, 1, 1);
  add_bias_gradient(tile, keys, on.gradients, work);
}

// A sink's weight is exp(sink - greatest) / sum; it meets no value, so ds = -weight sum(do o).
void add_sink_gradients(const QueryTile& tile, const BackwardProblem& on, const Workspace& work) {
  if (on.gradients.sinks == nullptr) return;
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    const std::int64_t head = r / tile.count;
    const float weight =
        std::exp(on.problem.sinks[head] - work.base[at_row(r)]) * work.share[at_row(r)];
    on.gradients.sinks[head] -= weight * work.delta[at_row(r)];
  }
}

void finish(const QueryTile& tile, const BackwardProblem& on, const Workspace& work) {
  const std::int64_t block = tile.count * on.problem.width();
  for (std::int64_t h = 0; h < on.problem.heads; ++h) {
    std::copy_n(
        work.d_queries.data() + h * block, block,
        on.gradients.query + h * on.gradients.query_head_stride + tile.first * on.problem.width());
  }
  add_sink_gradients(tile, on, work);
}

void run(const BackwardProblem& on, Workspace& work) {
  const std::int64_t step = queries_per_tile(on.problem);
  for (std::int64_t first = 0; first < on.problem.queries; first += step) {
    const QueryTile tile{on.problem, first, std::min(step, on.problem.queries - first)};
    start(tile, on, work);
    for (const KeyTile& keys : key_tiles(tile)) add_gradients(tile, keys, on, work);
    finish(tile, on, work);
  }
}

}  // namespace

void backward(std::span<const Group> groups) {
  at::parallel_for(0, std::ssize(groups), 1, [groups](std::int64_t begin, std::int64_t end) {
    const at::AutoDispatchBelowAutograd below;
    Workspace work;
    for (std::int64_t g = begin; g < end; ++g) {
      for (const BackwardProblem& on : groups[static_cast<std::size_t>(g)]) run(on, work);
    }
  });
}

}  // namespace npu_sim::ops::flash
