// The fields of every kind of Work by name, for bindings that carry a Work as a dict.
//
// visit_fields(work, f) calls f("m", work.m) for each field, in the order of the struct.
#pragma once

#include "model/work/work.h"

namespace npu_sim::python {

template <class F>
void visit_fields(model::NoWork&, F&&) {}

template <class F>
void visit_fields(model::VectorWork& work, F&& f) {
  f("elements", work.elements);
  f("read", work.read);
  f("written", work.written);
  f("compute", work.compute);
  f("linear_ops", work.linear_ops);
  f("special_ops", work.special_ops);
}

template <class F>
void visit_fields(model::RowWork& work, F&& f) {
  f("rows", work.rows);
  f("columns", work.columns);
  f("read", work.read);
  f("written", work.written);
  f("compute", work.compute);
  f("linear_ops", work.linear_ops);
  f("special_ops", work.special_ops);
  f("reductions", work.reductions);
  f("passes", work.passes);
}

template <class F>
void visit_fields(model::SortWork& work, F&& f) {
  f("rows", work.rows);
  f("columns", work.columns);
  f("k", work.k);
  f("format", work.format);
  f("written", work.written);
}

template <class F>
void visit_fields(model::MatmulWork& work, F&& f) {
  f("batch", work.batch);
  f("m", work.m);
  f("n", work.n);
  f("k", work.k);
  f("a", work.a);
  f("b", work.b);
  f("out", work.out);
  f("a_transposed", work.a_transposed);
  f("b_transposed", work.b_transposed);
  f("b_shared", work.b_shared);
  f("adds_input", work.adds_input);
  f("added", work.added);
}

template <class F>
void visit_fields(model::GroupedMatmulWork& work, F&& f) {
  f("rows", work.rows);
  f("n", work.n);
  f("k", work.k);
  f("a", work.a);
  f("b", work.b);
  f("out", work.out);
}

template <class F>
void visit_fields(model::ConvolutionWork& work, F&& f) {
  f("pass", work.pass);
  f("batch", work.batch);
  f("groups", work.groups);
  f("in_channels", work.in_channels);
  f("out_channels", work.out_channels);
  f("in_positions", work.in_positions);
  f("out_positions", work.out_positions);
  f("kernel_positions", work.kernel_positions);
  f("format", work.format);
}

template <class F>
void visit_fields(model::AttentionWork& work, F&& f) {
  f("batch", work.batch);
  f("q_heads", work.q_heads);
  f("kv_heads", work.kv_heads);
  f("q_len", work.q_len);
  f("kv_len", work.kv_len);
  f("qk_dim", work.qk_dim);
  f("v_dim", work.v_dim);
  f("format", work.format);
  f("causal", work.causal);
  f("backward", work.backward);
  f("mask", work.mask);
  f("v_in_k", work.v_in_k);
  f("window", work.window);
  f("kv_block", work.kv_block);
  f("kv_row", work.kv_row);
}

template <class F>
void visit_fields(model::GatherWork& work, F&& f) {
  f("items", work.items);
  f("item", work.item);
  f("index", work.index);
  f("written", work.written);
  f("read", work.read);
  f("scatter", work.scatter);
  f("accumulates", work.accumulates);
  f("table", work.table);
  f("one_by_one", work.one_by_one);
  f("scalars", work.scalars);
  f("choices", work.choices);
  f("run", work.run);
}

template <class F>
void visit_fields(model::CopyWork& work, F&& f) {
  f("route", work.route);
  f("read", work.read);
  f("written", work.written);
  f("run", work.run);
  f("span", work.span);
  f("transposed", work.transposed);
  f("target", work.target);
  f("descriptor_runs", work.descriptor_runs);
  f("pitch", work.pitch);
  f("sweeps", work.sweeps);
  f("sliced", work.sliced);
}

template <class F>
void visit_fields(model::HostWork& work, F&& f) {
  f("to_host", work.to_host);
  f("to_device", work.to_device);
  f("host_traffic", work.host_traffic);
}

template <class F>
void visit_fields(model::UndescribedWork& work, F&& f) {
  f("read", work.read);
  f("written", work.written);
}

}  // namespace npu_sim::python
