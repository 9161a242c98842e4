"""Dynamo's registries: torch.npu is traced as torch.cuda is.

Dynamo keeps most of what it knows of a device in tables of its own modules. `install()` adds npu to
each of them, next to the rows that torch has for cuda and xpu.
"""

import inspect
import pkgutil
from typing import Any

import torch
from torch._dynamo import trace_rules
from torch._dynamo.device_interface import DeviceInterface, register_interface_for_device
from torch._dynamo.utils import common_constant_types
from torch._dynamo.variables import TorchInGraphFunctionVariable, UserDefinedClassVariable
from torch._dynamo.variables import streams as stream_variables
from torch._dynamo.variables import torch as torch_variables
from torch._dynamo.variables.ctx_manager import (
    GenericDeviceVariable,
    register_device_context_manager,
)
from torch._dynamo.variables.functions import SkipFunctionVariable

from torch_npu_sim import npu
from torch_npu_sim.compile import graph_backends
from torch_npu_sim.npu import devices, properties

__all__ = ["NpuInterface", "install"]

# Answered while tracing: what a card is does not change while a program runs.
_CONSTANT = (
    "can_device_access_peer",
    "device_count",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_soc_version",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
)
# Nodes of the graph, run each time.
_IN_GRAPH = ("current_device", "current_stream", "default_stream", "stream", "synchronize")
# Plain Python that a graph may contain: torch.npu.amp.autocast.
_TRACED_MODULES = ("amp", "autocast")


class NpuInterface(DeviceInterface):
    """torch.npu under the names that dynamo and Inductor use for any device."""

    device = npu.device
    Event = npu.Event
    Stream = npu.Stream
    current_device = staticmethod(npu.current_device)
    set_device = staticmethod(npu.set_device)
    device_count = staticmethod(npu.device_count)
    exchange_device = staticmethod(npu._exchange_device)  # type: ignore[assignment]
    maybe_exchange_device = staticmethod(npu._maybe_exchange_device)  # type: ignore[assignment]
    is_available = staticmethod(npu.is_available)
    stream = staticmethod(npu.stream)
    current_stream = staticmethod(npu.current_stream)
    set_stream = staticmethod(npu.set_stream)
    synchronize = staticmethod(npu.synchronize)
    memory_allocated = staticmethod(npu.memory_allocated)
    is_bf16_supported = staticmethod(npu.is_bf16_supported)

    class Worker:
        """What compile workers ask; properties come from the chip file, so any process may."""

        set_device = staticmethod(npu.set_device)
        current_device = staticmethod(npu.current_device)
        get_device_properties = staticmethod(properties.get_device_properties)

    @staticmethod
    def _set_stream_by_id(stream_id: int, device_index: int, device_type: int) -> None:
        npu.set_stream(
            npu.Stream(stream_id=stream_id, device_index=device_index, device_type=device_type)
        )

    @staticmethod
    def get_raw_stream(device_idx: int) -> int:
        """Returns the handle of the current stream of a card."""
        return npu.current_stream(device_idx).npu_stream

    @staticmethod
    def get_compute_capability(device: Any = None) -> str:
        """Returns the SoC name: an npu has no number for it."""
        return npu.get_device_name(device)


class _DeviceVariable(GenericDeviceVariable):
    """`with torch.npu.device(...)` in traced code."""

    _exchange_fn = staticmethod(npu._exchange_device)
    _maybe_exchange_fn = staticmethod(npu._maybe_exchange_device)

    @staticmethod
    def _get_device_index_fn(device: Any, optional: bool = True) -> int:
        return -1 if device is None else devices._index_of(device, optional=optional)

    def module_name(self) -> str:
        """Returns where the class is."""
        return "torch.npu"

    def python_type(self) -> type:
        """Returns the class that stands in the program."""
        return npu.device


class _StreamVariable(stream_variables.StreamVariable):
    """A torch.npu.Stream in traced code."""

    _cpython_type = npu.Stream
    _device_handle_attr = "npu_stream"


def install() -> None:
    """Adds npu to dynamo's registries. Called once, when torch._dynamo has been imported."""
    register_interface_for_device("npu", NpuInterface)
    for index in range(npu.device_count()):
        register_interface_for_device(f"npu:{index}", NpuInterface)
    register_device_context_manager(npu.device, _DeviceVariable)
    _add_rules()
    _add_handlers()
    graph_backends.register()
    common_constant_types.add(properties.DeviceProperties)
    UserDefinedClassVariable._in_graph_classes().update({npu.Stream, npu.Event})


def _add_rules() -> None:
    """Says of each function of torch.npu whether it is traced, answered at once or a break."""
    rules: dict[str, Any] = {}
    for name in (*_CONSTANT, *_IN_GRAPH):
        rules[f"torch.npu.{name}"] = TorchInGraphFunctionVariable
    # The graph ends before all others, as before torch.cuda's: they change what is traced later, or
    # ask about memory that a graph does not have yet.
    for name in (*npu.__all__, "_exchange_device", "_maybe_exchange_device"):
        # Not getattr: default_generators, asked for, would initialise the device.
        function = vars(npu).get(name)
        if inspect.isfunction(function) and not _is_traced(function.__module__):
            rules.setdefault(f"torch.npu.{name}", SkipFunctionVariable)
    trace_rules.torch_name_rule_map.append(rules)
    trace_rules.clear_lru_cache()
    # Frames of these modules are not compiled when they run between graphs.
    for module in pkgutil.iter_modules(npu.__path__):
        if not _is_traced(f"{npu.__name__}.{module.name}"):
            trace_rules.add(f"{npu.__name__}.{module.name}")
    folded: Any = torch_variables.constant_fold_functions
    folded.update(dict.fromkeys(getattr(npu, name) for name in _CONSTANT))
    guarded: Any = torch_variables.constant_fold_functions_need_guards
    folded[npu.current_device] = guarded[npu.current_device] = None


def _is_traced(module: str) -> bool:
    return module.removeprefix(f"{npu.__name__}.") in _TRACED_MODULES


def _add_handlers() -> None:
    """Lets the functions of torch.npu do what torch.accelerator's do in a graph."""
    stream_variables._stream_fn_to_variable_cls[npu.current_stream] = _StreamVariable
    handlers = TorchInGraphFunctionVariable._get_handlers()
    handlers[npu.current_stream] = handlers[torch.accelerator.current_stream]
    handlers[npu.synchronize] = handlers[torch.accelerator.synchronize]
