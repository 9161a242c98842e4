"""Samples keep what they are when they are cloned."""

import warnings

import pytest
import torch

pytest.importorskip("expecttest", reason="torch's test data needs expecttest: [test]")

from tests.conformance.samples import Sample, again  # noqa: E402


def test_a_clone_of_a_strided_tensor_keeps_its_strides() -> None:
    x = torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2)
    assert again(Sample(x, (), {})).input.stride() == x.stride()


def test_a_compressed_sparse_tensor_is_cloned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the layout is in beta
        x = torch.eye(3).to_sparse_csr()
    copy = again(Sample(x, (), {})).input
    assert copy.layout == torch.sparse_csr
    assert torch.equal(copy.to_dense(), x.to_dense())
