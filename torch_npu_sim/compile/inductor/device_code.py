"""Pieces of Python that Inductor writes into its wrapper for a device."""

from torch._inductor.codegen.common import DeviceOpOverrides

__all__ = ["NpuDeviceCode"]


class NpuDeviceCode(DeviceOpOverrides):
    """torch.npu's names for what the generated wrapper does to a device."""

    def import_get_raw_stream_as(self, name: str) -> str:
        """Returns the import of the function that gives a card's current stream."""
        return (
            f"from torch_npu_sim.compile.dynamo import NpuInterface as _npu_interface\n"
            f"{name} = _npu_interface.get_raw_stream"
        )

    def set_device(self, device_idx: int) -> str:
        """Returns a statement."""
        return f"torch.npu.set_device({device_idx})"

    def synchronize(self) -> str:
        """Returns a statement."""
        return "torch.npu.synchronize()"

    def device_guard(self, device_idx: int) -> str:
        """Returns a context manager."""
        return f"torch.npu.device({device_idx})"

    def current_stream(self) -> str:
        """Returns an expression."""
        return "torch.npu.current_stream()"

    def cpp_kernel_type(self) -> str:
        """Returns the C++ type of a kernel's handle: C++ kernels are functions."""
        return "void*"
