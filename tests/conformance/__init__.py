"""PyTorch's own test data on npu, compared with the stock CPU; see docs/conformance.md.

`python -m tests.conformance run` works through the items, `... report` writes the page.
"""
