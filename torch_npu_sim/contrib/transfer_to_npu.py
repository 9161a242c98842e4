"""Moves CUDA code over: importing this redirects what it says of cuda to npu.

What is redirected is what torch_npu redirects (contrib/transfer_to_npu.py of
Ascend/pytorch@9e73e708): devices in arguments, `torch.cuda.*`, typed tensors, streams, amp, nccl,
the profiler. `npu-sim migrate` tells of a program what is not.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._device import DeviceContext, _device_constructors

from torch_npu_sim import npu, profiler
from torch_npu_sim.compile.arrival import when_imported
from torch_npu_sim.contrib.redirected_names import (
    CUDA_FUNCTIONS,
    CUDA_MODULES,
    MODULE_METHODS,
    TENSOR_METHODS,
    TORCH_FUNCTIONS,
)
from torch_npu_sim.contrib.redirection import DEVICE_KEYWORDS, on_npu, redirected, with_hccl

__all__: list[str] = []

_BANNER = """
torch.cuda.* and torch.cuda.amp.* are torch.npu.* and torch.npu.amp.* now. Tensor.cuda and
Module.cuda move to npu, torch.cuda.DoubleTensor is torch.npu.FloatTensor, and the backend nccl of
torch.distributed is hccl. Arguments that name a cuda device name an npu in:
{functions}
torch.jit.script returns its argument."""


def _redirect(owner: Any, names: Iterable[str]) -> None:
    """Puts redirecting functions in the place of an owner's, if it has them."""
    for name in names:
        if hasattr(owner, name):
            # x.to(1) moves to a card; x.new_zeros(1) does not.
            numbers = name in MODULE_METHODS
            setattr(owner, name, redirected(getattr(owner, name), numbers))


def _redirect_init(kind: type, *keywords: str) -> None:
    kind.__init__ = redirected(kind.__init__, keywords=DEVICE_KEYWORDS + keywords)  # type: ignore[misc]


def _redirect_torch() -> None:
    _device_constructors()  # keeps the functions as they are now: it is these that torch calls
    _redirect(torch, TORCH_FUNCTIONS)
    _redirect(torch.fft, ("fftfreq", "rfftfreq"))
    _redirect(torch.Tensor, TENSOR_METHODS)
    _redirect(torch.nn.Module, MODULE_METHODS)
    torch.Tensor.cuda = torch.Tensor.npu  # type: ignore[attr-defined, method-assign]
    torch.Tensor.is_cuda = torch.Tensor.is_npu  # type: ignore[attr-defined]
    torch.nn.Module.cuda = torch.nn.Module.npu  # type: ignore[attr-defined, method-assign]
    torch.storage.TypedStorage.is_cuda = torch.storage.TypedStorage.is_npu  # type: ignore[attr-defined, method-assign]
    torch.UntypedStorage.__new__ = redirected(torch.UntypedStorage.__new__)  # type: ignore[method-assign]
    torch.Generator = _proxy(torch.Generator)  # type: ignore[assignment, misc]
    torch.Event = _proxy(torch.Event)  # type: ignore[assignment, misc]
    _redirect_init(DeviceContext)
    _redirect_init(torch.utils.data.DataLoader, "pin_memory_device")


def _proxy(base: type) -> type:
    """Returns a subclass that takes cuda devices, of which every instance of `base` is one."""

    class Meta(type(base)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, base)

    class Proxy(base, metaclass=Meta):  # type: ignore[misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            moved = {name: on_npu(value) for name, value in kwargs.items()}
            return base(*(on_npu(value) for value in args), **moved)

    Proxy.__name__ = Proxy.__qualname__ = base.__name__
    Proxy.__module__ = base.__module__
    return Proxy


def _redirect_cuda() -> None:
    _take_names(torch.cuda, npu)
    for name in CUDA_MODULES:
        _take_names(
            importlib.import_module(f"torch.cuda.{name}"),
            importlib.import_module(f"torch_npu_sim.npu.{name}"),
        )
    _redirect(torch.cuda, CUDA_FUNCTIONS)
    _redirect(torch.cuda.memory, ("_record_memory_history", "_snapshot"))
    cuda: Any = torch.cuda
    cuda.DoubleTensor = npu.FloatTensor
    cuda.CUDAGraph = npu.NPUGraph
    cuda.amp.common.amp_definitely_not_available = lambda: False
    npu._lazy_call(lambda: setattr(cuda, "default_generators", npu.default_generators))
    _redirect_init(torch.cuda.device)
    made = redirected(npu.Stream.__new__, keywords=("device",))  # device_type is a number here
    npu.Stream.__new__ = made  # type: ignore[method-assign]


def _take_names(cuda: ModuleType, own: ModuleType) -> None:
    """Gives a module of torch.cuda the names of the one of torch.npu."""
    private = ("_record_memory_history", "_snapshot", "_dump_snapshot")
    for name in (*own.__all__, *private):
        value = vars(own).get(name)  # not getattr: default_generators would start the device
        if value is not None and not isinstance(value, ModuleType):
            setattr(cuda, name, value)


def _forget_cuda(rules: Any) -> None:
    """Takes functions that are npu's now out of dynamo's tables; npu's rows hold for them."""
    for table in rules.torch_name_rule_map:
        for name in [name for name in table if name.startswith("torch.cuda.")]:
            if name.rpartition(".")[2] in npu.__all__:
                del table[name]
    rules.clear_lru_cache()


def _redirect_amp() -> None:
    _redirect_init(torch.amp.autocast_mode.autocast)
    scaler: Any = torch.amp.GradScaler
    scaler.__init__ = _with_npu_as_default(scaler.__init__)


def _with_npu_as_default(init: Callable[..., None]) -> Callable[..., None]:
    moved = redirected(init)

    @functools.wraps(init)
    def with_default(self: Any, *args: Any, **kwargs: Any) -> None:
        if not args:
            kwargs.setdefault("device", "npu")
        moved(self, *args, **kwargs)

    return with_default


def _redirect_distributed() -> None:
    c10d: Any = dist.distributed_c10d
    start = with_hccl(redirected(c10d.init_process_group))
    dist.init_process_group = c10d.init_process_group = start
    c10d._new_group_with_tag = with_hccl(c10d._new_group_with_tag)
    whole: Any = dist
    for module in (whole, c10d):
        module.is_nccl_available = module.is_hccl_available
        module.ProcessGroupNCCL = module.ProcessGroupHCCL
    dist.Backend.default_device_backend_map.pop("cuda", None)
    dist.ProcessGroup._get_backend = redirected(dist.ProcessGroup._get_backend)  # type: ignore[method-assign]
    _redirect_init(torch.nn.parallel.DistributedDataParallel)
    mesh: Any = importlib.import_module("torch.distributed.device_mesh")
    mesh.init_device_mesh = whole.init_device_mesh = redirected(mesh.init_device_mesh)
    _redirect_init(mesh.DeviceMesh)
    fsdp = importlib.import_module("torch.distributed.fsdp.fully_sharded_data_parallel")
    _redirect_init(fsdp.FullyShardedDataParallel)


def _redirect_profiler() -> None:
    module: Any = torch.profiler
    module.profile = _without_foreign_config(profiler.profile)
    module.schedule = profiler.schedule
    module.tensorboard_trace_handler = profiler.tensorboard_trace_handler
    module.ProfilerActivity.CUDA = profiler.ProfilerActivity.NPU


def _without_foreign_config(profile: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `profile` that leaves out an experimental_config of CUDA's profiler, and says so."""

    @functools.wraps(profile, updated=())
    def start(*args: Any, **kwargs: Any) -> Any:
        config = kwargs.get("experimental_config")
        if config is not None and not isinstance(config, profiler._ExperimentalConfig):
            warnings.warn("transfer_to_npu: experimental_config is CUDA's, left out", stacklevel=2)
            del kwargs["experimental_config"]
        return profile(*args, **kwargs)

    return start


def _redirect_compilers() -> None:
    jit: Any = torch.jit
    jit.script = _unscripted
    jit.script_method = _unscripted
    triton: Any = importlib.import_module("torch.utils._triton")
    triton.has_triton = lambda: False
    when_imported("torch._inductor.utils", "torch_npu_sim.contrib.inductor_type")


def _unscripted(obj: Any = None, *_args: Any, **_kwargs: Any) -> Any:
    """Stands for torch.jit.script, called or as a decorator with options."""
    return (lambda decorated: decorated) if obj is None else obj


def _say() -> None:
    functions = [f"torch.{name}" for name in TORCH_FUNCTIONS]
    functions += [f"torch.Tensor.{name}" for name in TENSOR_METHODS]
    functions += [f"torch.nn.Module.{name}" for name in MODULE_METHODS]
    warnings.warn(_BANNER.format(functions=", ".join(functions)), ImportWarning, stacklevel=2)


def _install() -> None:
    _say()
    # Importing dynamo reads classes of torch.cuda, which must still be its own.
    rules = importlib.import_module("torch._dynamo.trace_rules")
    _redirect_cuda()
    _forget_cuda(rules)
    _redirect_torch()
    _redirect_amp()
    _redirect_distributed()
    _redirect_profiler()
    _redirect_compilers()


_install()
