"""Packages under the names of torch_npu's world. `torch_npu_sim.drop_in` puts them on the path."""
