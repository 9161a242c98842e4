"""Private pools of the caching allocator, and allocators from a user's shared library."""

import contextlib
import ctypes
import weakref
from collections.abc import Iterator
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of
from torch_npu_sim.npu.lifecycle import _lazy_init
from torch_npu_sim.npu.memory_history import memory_snapshot

__all__ = [
    "MemPool",
    "NPUPluggableAllocator",
    "change_current_allocator",
    "get_allocator_backend",
    "use_mem_pool",
]


class _ForeignFunctions:
    """The addresses of the two functions of an allocator, and the library that holds them."""

    def __init__(self, library: ctypes.CDLL, allocate: int, free: int) -> None:
        self.library = library
        self.allocate = allocate
        self.free = free


class NPUPluggableAllocator:
    """An allocator whose two functions come from a shared library.

    Args:
        path_to_so_file: the library.
        alloc_fn_name: ``void* alloc(ssize_t size, int device, void* stream)``; null means that the
            card is full. The memory must be readable and writable by the host.
        free_fn_name: ``void free(void* pointer, ssize_t size, int device, void* stream)``.

    Raises:
        OSError: there is no such library.
        AttributeError: it has no such function.
    """

    def __init__(self, path_to_so_file: str, alloc_fn_name: str, free_fn_name: str) -> None:
        """Loads the library and finds the functions."""
        library = ctypes.CDLL(path_to_so_file)
        self._allocator = _ForeignFunctions(
            library, _address_of(library, alloc_fn_name), _address_of(library, free_fn_name)
        )

    def allocator(self) -> _ForeignFunctions:
        """Returns what MemPool takes as its allocator."""
        return self._allocator


def change_current_allocator(allocator: NPUPluggableAllocator) -> None:
    """Makes every allocation of the process come from `allocator`, from now on and without a cache.

    Raises:
        RuntimeError: memory of a card has been allocated already.
    """
    functions = _functions_of(allocator, "change_current_allocator")
    _keep_loaded.append(functions)
    _C.use_foreign_memory(functions.allocate, functions.free)


def get_allocator_backend() -> str:
    """Returns "native" (torch's caching scheme), or "pluggable" after change_current_allocator."""
    return "pluggable" if _C.uses_foreign_memory() else "native"


class MemPool:
    """A private pool of the caching allocator: its segments serve only `use_mem_pool` blocks.

    When the pool is deleted, its segments go back to the card as soon as they are free.

    Args:
        allocator: what `NPUPluggableAllocator.allocator()` returns, or the allocator itself: the
            pool's memory then comes from its functions, one call an allocation.
        use_on_oom: free blocks of the pool may serve other allocations before they fail.
        no_split: a segment serves one allocation at a time.
    """

    def __init__(
        self,
        allocator: NPUPluggableAllocator | _ForeignFunctions | None = None,
        use_on_oom: bool = False,
        no_split: bool = False,
    ) -> None:
        """Makes an empty pool."""
        _lazy_init()
        self._functions = None if allocator is None else _functions_of(allocator, "MemPool")
        if self._functions is not None:
            _keep_loaded.append(self._functions)  # blocks may outlive the pool
        allocate = self._functions.allocate if self._functions else 0
        free = self._functions.free if self._functions else 0
        self._number = _C.create_mem_pool(use_on_oom, no_split, allocate, free)
        weakref.finalize(self, _C.release_mem_pool, self._number)

    @property
    def id(self) -> tuple[int, int]:
        """The pool's name in snapshots (segment_pool_id)."""
        return (0, self._number)

    @property
    def allocator(self) -> _ForeignFunctions | None:
        """The functions that the pool's memory comes from; None for the card's own."""
        return self._functions

    def use_count(self) -> int:
        """Returns 1 for the pool itself, plus 1 for each use_mem_pool block that is running."""
        return _C.mem_pool_uses(self._number)

    def snapshot(self, include_traces: bool = True) -> list[dict[str, Any]]:
        """Returns the pool's segments on every card, each with its blocks.

        Args:
            include_traces: accepted; events are in `torch.npu.memory._snapshot()`.
        """
        del include_traces
        return memory_snapshot(self.id)


@contextlib.contextmanager
def use_mem_pool(pool: MemPool, device: DeviceLike = None) -> Iterator[None]:
    """Makes the calling thread's allocations on a card come from `pool` inside the block.

    Other threads, such as those of a backward pass, are not affected, as in torch.cuda.

    Args:
        pool: the pool.
        device: the card; the current one if None.

    Raises:
        TypeError: `pool` is no MemPool.
    """
    if not isinstance(pool, MemPool):
        raise TypeError(
            f"torch.npu.use_mem_pool: expected a torch.npu.MemPool, got {type(pool).__name__}"
        )
    _lazy_init()
    index = _existing(_index_of(device), "use_mem_pool")
    _, number = pool.id
    previous = _C.begin_mem_pool(index, number)
    try:
        yield
    finally:
        _C.end_mem_pool(index, number, previous)


# Blocks are freed by functions of these libraries, so they stay loaded as long as the process.
_keep_loaded: list[_ForeignFunctions] = []


def _address_of(library: ctypes.CDLL, name: str) -> int:
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert address is not None  # ctypes raises AttributeError for a name it does not find
    return address


def _functions_of(allocator: object, caller: str) -> _ForeignFunctions:
    """Returns the functions of an allocator.

    Raises:
        TypeError: it is none.
    """
    if isinstance(allocator, NPUPluggableAllocator):
        return allocator.allocator()
    if isinstance(allocator, _ForeignFunctions):
        return allocator
    raise TypeError(
        f"torch.npu.{caller}: expected a torch.npu.NPUPluggableAllocator, got "
        f"{type(allocator).__name__}"
    )
