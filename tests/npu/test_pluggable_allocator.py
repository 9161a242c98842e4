"""torch.npu: allocators from a user's shared library."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from tests.conftest import RunPython

SOURCE = """
#include <stdlib.h>
#include <sys/types.h>
ssize_t taken = 0, given = 0, last_size = 0;
int last_device = -1;
void* take(ssize_t size, int device, void* stream) {
  (void)stream;
  if (size > (1 << 26)) return NULL;
  ++taken; last_size = size; last_device = device;
  return aligned_alloc(512, (size + 511) / 512 * 512);
}
void give(void* pointer, ssize_t size, int device, void* stream) {
  (void)size; (void)device; (void)stream;
  ++given;
  free(pointer);
}
"""

PREPARE = """
import ctypes, torch, torch_npu_sim
library = ctypes.CDLL({path!r})
def value(name): return ctypes.c_ssize_t.in_dll(library, name).value
allocator = torch.npu.NPUPluggableAllocator({path!r}, "take", "give")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared library with an allocator that counts its calls."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine to build an allocator with")
    folder = tmp_path_factory.mktemp("allocator")
    source, path = folder / "allocator.c", folder / "allocator.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return path


def prepared(library: Path, code: str) -> str:
    return PREPARE.format(path=str(library)) + code


def test_every_allocation_comes_from_the_functions(library: Path, run_python: RunPython) -> None:
    code = """
torch.npu.change_current_allocator(allocator)
assert torch.npu.get_allocator_backend() == "pluggable"
x = torch.arange(6.0, device="npu:1")
before = value("taken")
y = x.neg()
assert value("taken") == before + 1, "a result is adopted, not copied"
assert value("last_size") == 24
assert ctypes.c_int.in_dll(library, "last_device").value == 1
assert y.tolist() == [0, -1, -2, -3, -4, -5]
assert (y @ y).item() == 55
assert torch.npu.memory_allocated(1) == 48
x.record_stream(torch.npu.Stream(1))
y.untyped_storage().resize_(4096)
del x, y
assert value("taken") == value("given")
assert torch.npu.memory_allocated(1) == 0
torch.npu.empty_cache()
"""
    done = run_python(prepared(library, code))
    assert done.returncode == 0, done.stderr


def test_a_model_trains_on_it(library: Path, run_python: RunPython) -> None:
    code = """
torch.npu.change_current_allocator(allocator)
def losses(device):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 1))
    model.to(device)
    x = torch.linspace(-1, 1, 32).reshape(4, 8).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    out = []
    for _ in range(3):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return out
assert losses("npu") == losses("cpu")
"""
    done = run_python(prepared(library, code))
    assert done.returncode == 0, done.stderr


def test_an_allocator_cannot_be_changed_after_the_first_allocation(
    library: Path, run_python: RunPython
) -> None:
    code = """
x = torch.ones(1, device="npu")
try:
    torch.npu.change_current_allocator(allocator)
except RuntimeError as error:
    print(error)
"""
    done = run_python(prepared(library, code))
    assert done.stdout.strip() == "Can't swap an already initialized allocator", done.stderr


def test_a_null_pointer_is_out_of_memory(library: Path, run_python: RunPython) -> None:
    code = """
torch.npu.change_current_allocator(allocator)
try:
    torch.empty(1 << 27, dtype=torch.uint8, device="npu")
except torch.OutOfMemoryError as error:
    print(error)
"""
    done = run_python(prepared(library, code))
    assert "got null for 134217728 bytes on npu:0" in done.stdout, done.stderr


def test_a_pool_can_have_an_allocator_of_its_own(library: Path) -> None:
    allocator = torch.npu.NPUPluggableAllocator(str(library), "take", "give")
    assert torch.npu.get_allocator_backend() == "native"
    outside = torch.ones(8, device="npu")
    pool = torch.npu.MemPool(allocator.allocator())
    with torch.npu.use_mem_pool(pool):
        inside = outside + 1
    mixed = inside + outside
    assert mixed.tolist() == [3.0] * 8
    del pool
    assert inside.tolist() == [2.0] * 8


def test_what_is_no_allocator_is_refused(library: Path) -> None:
    with pytest.raises(OSError, match="no_such_file"):
        torch.npu.NPUPluggableAllocator("no_such_file.so", "take", "give")
    with pytest.raises(AttributeError, match="no_such_function"):
        torch.npu.NPUPluggableAllocator(str(library), "no_such_function", "give")
    with pytest.raises(TypeError, match="expected a torch.npu.NPUPluggableAllocator, got int"):
        torch.npu.change_current_allocator(1)
