"""The generated code around the kernels: where it differs for npu."""

from typing import Any

import torch
from torch._inductor import config
from torch._inductor.codegen.wrapper import (
    EnterCudaStreamContextLine,
    PythonWrapperCodegen,
    SubgraphPythonWrapperCodegen,
)
from torch._inductor.stream_constants import DEFAULT_STREAM, STREAM_NAME_TEMPLATE
from torch._inductor.virtualized import V

__all__ = ["NpuCppWrapper", "NpuPythonWrapper"]


class NpuPythonWrapper(PythonWrapperCodegen):
    """Python that allocates on a named card, calls C++ kernels, and records each launch."""

    def __init__(self) -> None:
        """Begins a wrapper."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._streams_named = False

    @staticmethod
    def create(
        is_subgraph: bool,
        subgraph_name: str | None,
        parent_wrapper: PythonWrapperCodegen | None,
        partition_signatures: Any = None,
    ) -> PythonWrapperCodegen:
        """Returns the wrapper of a graph, or of a subgraph of it."""
        if is_subgraph:
            assert subgraph_name is not None and parent_wrapper is not None
            return NpuSubgraphWrapper(subgraph_name, parent_wrapper, partition_signatures)
        return NpuPythonWrapper()

    def write_header(self) -> None:
        """Adds the names that npu's lines use."""
        super().write_header()
        self.header.splice(
            """
            from torch._dynamo.graph_bytecode_inputs import get_external_object_by_index
            from torch_npu_sim._C import record_fused_kernel
            """,
            strip=True,
        )
        if config.triton.cudagraphs:  # what modes with graphs set, whatever the device
            self.header.splice(
                """
                from torch_npu_sim.compile.inductor.modes import warn_of_graphs
                warn_of_graphs()
                """,
                strip=True,
            )

    def make_allocation(
        self,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        shape: Any,
        stride: Any,
        allocation_shape: Any = None,
        is_pinned: bool = False,
    ) -> str:
        """As for any device, but on the card with its index: there is no guard around the code."""
        line: str = super().make_allocation(  # type: ignore[no-untyped-call]
            name, device, dtype, shape, stride, allocation_shape, is_pinned
        )
        return line.replace(f"device='{device.type}'", f"device='{device}'", 1)

    def _generate_kernel_call_helper(
        self, kernel_name: str, call_args: Any, *, device: Any = None, **rest: Any
    ) -> None:
        # The kernels are functions of the host.
        super()._generate_kernel_call_helper(
            kernel_name, call_args, device=torch.device("cpu"), **rest
        )

    def codegen_cuda_stream_enter(self, stream_idx: int) -> EnterCudaStreamContextLine:
        """Names the streams before the first of them is entered.

        Inductor does that where it guards a device, which it does for its own devices only.
        """
        if not self._streams_named:
            self._streams_named = True
            lines = [f"{DEFAULT_STREAM} = {V.graph.device_ops.current_stream()}"]
            for index, user_object in V.graph.scheduler.stream_idx_to_user_obj_idx.items():
                stream = STREAM_NAME_TEMPLATE.format(stream_idx=index)
                lines.append(f"{stream} = get_external_object_by_index({user_object})")
            self.writelines(lines)  # type: ignore[no-untyped-call]
        return super().codegen_cuda_stream_enter(stream_idx)


class NpuSubgraphWrapper(SubgraphPythonWrapperCodegen, NpuPythonWrapper):
    """The same for a subgraph, such as a branch of torch.cond."""


class NpuCppWrapper(PythonWrapperCodegen):
    """Stands where a C++ wrapper would be."""

    @staticmethod
    def create(*_args: Any, **_kwargs: Any) -> PythonWrapperCodegen:
        """Refuses.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "torch.compile on npu: expected Inductor's Python wrapper, got cpp_wrapper=True or "
            "AOTInductor, whose C++ has no entry points for npu; leave cpp_wrapper off, or export "
            "with torch.export and compile the loaded program"
        )
