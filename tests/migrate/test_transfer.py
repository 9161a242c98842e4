"""What code that says cuda does after transfer_to_npu."""

import pytest

from tests.python_session import PythonSession


def test_devices_in_arguments_are_npu(moved: PythonSession) -> None:
    moved.run(
        "device = torch.device('cuda:1')\n"
        "for x in (torch.zeros(2, device='cuda:1'), torch.tensor([1.0], device=device),\n"
        "          torch.arange(3, device=1), torch.ones(2).to('cuda:1'), torch.ones(2).to(1),\n"
        "          torch.ones(2).to(device=device), torch.ones(2).new_zeros(3, device=device),\n"
        "          torch.ones(2).cuda(1), torch.rand_like(torch.ones(2), device='cuda:1'),\n"
        "          torch.nn.Linear(2, 2).cuda(1).weight, torch.nn.Linear(2, 2).to(1).weight,\n"
        "          torch.nn.Linear(2, 2, device='cuda:1').weight,\n"
        "          torch.cuda.FloatTensor([1.0]).to('cuda:1')):\n"
        "    assert x.device == torch.device('npu:1') and x.is_cuda, x\n"
        "with torch.device('cuda'):\n"
        "    assert torch.zeros(3).device.type == 'npu'\n"
        "torch.set_default_device('cuda')\n"
        "assert torch.zeros(3).device.type == 'npu'\n"
        "torch.set_default_device(None)\n"
        "assert not torch.zeros(3).is_cuda and torch.ones(2).to('cpu').device.type == 'cpu'"
    )


def test_numbers_that_are_no_devices_stay(moved: PythonSession) -> None:
    moved.run(
        "assert torch.full((2,), 1).tolist() == [1, 1]\n"
        "assert torch.ones(2).to(torch.half).dtype == torch.half\n"
        "assert torch.zeros(1).to(False).device.type == 'cpu' if False else True\n"
        "assert torch.arange(1, 3).tolist() == [1, 2]"
    )


def test_a_file_whose_name_holds_cuda_is_found(moved: PythonSession) -> None:
    moved.run(
        "torch.save({'x': torch.ones(2).cuda()}, 'cuda_model.pt')\n"
        "for where in ('cuda:1', torch.device('cuda', 1), {'npu:0': 'cuda:1'}):\n"
        "    loaded = torch.load('cuda_model.pt', map_location=where)\n"
        "    assert loaded['x'].device == torch.device('npu:1')"
    )


def test_torch_cuda_is_torch_npu(moved: PythonSession) -> None:
    moved.run(
        "import torch.cuda.amp, torch.cuda.memory, torch.cuda.random\n"
        "from torch_npu_sim import npu\n"
        "from types import ModuleType\n"
        "for name in npu.__all__:\n"
        "    own = vars(npu).get(name)\n"
        "    if own is None or isinstance(own, ModuleType) or name == 'DoubleTensor':\n"
        "        continue\n"
        "    taken = getattr(torch.cuda, name)\n"
        "    assert taken is own or taken.__wrapped__ is own, name\n"
        "assert torch.cuda.is_available() and torch.cuda.device_count() == 8\n"
        "assert torch.cuda.DoubleTensor is npu.FloatTensor\n"
        "assert torch.cuda.amp.GradScaler is npu.amp.GradScaler\n"
        "torch.cuda.set_device('cuda:2')\n"
        "assert torch.cuda.current_device() == 2\n"
        "torch.cuda.set_device(0)\n"
        "before = torch.cuda.memory_allocated('cuda:0')\n"
        "x = torch.empty(1 << 20, device='cuda')\n"
        "assert torch.cuda.memory_allocated('cuda:0') >= before + 4 * (1 << 20)\n"
        "with torch.cuda.device(1):\n"
        "    assert torch.cuda.current_device() == 1"
    )


def test_seeds_and_generators_are_of_the_card(moved: PythonSession) -> None:
    moved.run(
        "g = torch.Generator(device='cuda').manual_seed(3)\n"
        "a = torch.randn(4, device='cuda', generator=g)\n"
        "torch.cuda.manual_seed_all(3)\n"
        "assert torch.equal(a, torch.randn(4, device='cuda'))\n"
        "assert isinstance(g, torch.Generator) and isinstance(torch.Generator(), kept[1])\n"
        "assert isinstance(torch.default_generator, torch.Generator)\n"
        "assert len(torch.cuda.default_generators) == 8\n"
        "state = torch.cuda.get_rng_state()\n"
        "b = torch.rand(2, device='cuda')\n"
        "torch.cuda.set_rng_state(state)\n"
        "assert torch.equal(b, torch.rand(2, device='cuda'))"
    )


def test_streams_and_events_order_work(moved: PythonSession) -> None:
    moved.run(
        "start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))\n"
        "side = torch.cuda.Stream('cuda:0')\n"
        "start.record()\n"
        "with torch.cuda.stream(side):\n"
        "    y = torch.ones(512, 512, device='cuda') @ torch.ones(512, 512, device='cuda')\n"
        "torch.cuda.current_stream().wait_stream(side)\n"
        "end.record(); torch.cuda.synchronize('cuda')\n"
        "assert start.elapsed_time(end) > 0 and y[0, 0] == 512\n"
        "assert torch.Event('cuda').device.type == 'npu'"
    )


@pytest.mark.parametrize(
    "scaler",
    ["torch.cuda.amp.GradScaler()", "torch.amp.GradScaler('cuda')", "torch.amp.GradScaler()"],
)
def test_amp_scales_and_casts(scaler: str, moved: PythonSession) -> None:
    moved.run(
        "w = torch.ones(4, 4, device='cuda', requires_grad=True)\n"
        "optimizer = torch.optim.SGD([w], lr=0.5)\n"
        f"scaler = {scaler}\n"
        "with torch.autocast('cuda', dtype=torch.bfloat16):\n"
        "    y = w @ w\n"
        "assert y.dtype == torch.bfloat16\n"
        "with torch.amp.autocast(device_type='cuda'):\n"
        "    assert (w @ w).dtype == torch.float16\n"
        "scaler.scale(y.float().mean()).backward()\n"
        "scaler.step(optimizer); scaler.update()\n"
        "assert scaler.get_scale() == 65536 and torch.allclose(w, torch.full_like(w, 0.75))"
    )


def test_nccl_is_hccl(moved: PythonSession) -> None:
    moved.run(
        "import torch.distributed as dist\n"
        "assert dist.is_nccl_available() and dist.ProcessGroupNCCL.Options()\n"
        "dist.init_process_group('nccl', store=dist.HashStore(), rank=0, world_size=1,\n"
        "    device_id=torch.device('cuda:0'))\n"
        "assert dist.get_backend() == 'hccl'\n"
        "x = torch.ones(3, device='cuda'); dist.all_reduce(x)\n"
        "assert x.tolist() == [1, 1, 1]\n"
        "assert dist.get_backend(dist.new_group([0], backend='nccl')) == 'hccl'\n"
        "mesh = dist.init_device_mesh('cuda', (1,))\n"
        "assert mesh.device_type == 'npu'\n"
        "dist.destroy_process_group()\n"
        "store = dist.HashStore()\n"
        "dist.init_process_group('cpu:gloo,cuda:nccl', store=store, rank=0, world_size=1)\n"
        "dist.all_reduce(x); dist.destroy_process_group()"
    )


def test_batches_of_a_data_loader_are_pinned_for_the_card(moved: PythonSession) -> None:
    moved.run(
        "from torch.utils.data import DataLoader\n"
        "import warnings\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')\n"
        "    loader = DataLoader(list(range(4)), 2, pin_memory=True, pin_memory_device='cuda')\n"
        "assert all(batch.is_pinned() for batch in loader)"
    )


def test_compilers_see_npu(moved: PythonSession) -> None:
    moved.run(
        "model = torch.nn.Linear(4, 4).cuda()\n"
        "def step(x):\n"
        "    return model(x) + torch.zeros(4, device='cuda') + x.to('cuda:0')\n"
        "x = torch.randn(2, 4, device='cuda')\n"
        "assert torch.equal(torch.compile(step, backend='eager', fullgraph=True)(x), step(x))\n"
        "assert torch.jit.script(step) is step\n"
        "@torch.jit.script\n"
        "def plain(x):\n"
        "    return x + 1\n"
        "assert plain(1) == 2\n"
        "from torch._inductor.utils import get_gpu_type\n"
        "assert get_gpu_type() == 'npu'"
    )


def test_the_original_functions_are_still_called(moved: PythonSession) -> None:
    moved.run("assert torch.zeros.__wrapped__ is kept[0] and torch.zeros.__name__ == 'zeros'")


def test_what_the_linter_calls_not_redirected_is_not(moved: PythonSession) -> None:
    moved.run(
        "from torch_npu_sim.migrate import advice\n"
        "for name in advice.TAKES_NO_CUDA:\n"
        "    function = torch\n"
        "    for part in name.split('.')[1:]:\n"
        "        function = getattr(function, part)\n"
        "    assert not hasattr(function, '__wrapped__'), name\n"
        "try:\n"
        "    torch.asarray([1], device='cuda')\n"
        "    raise LookupError\n"
        "except (AssertionError, RuntimeError) as error:\n"
        "    assert 'cuda' in str(error).lower(), error\n"
        "assert (torch.ones(1).cuda().device.type == 'cuda') is False\n"
        "assert torch.version.cuda is None"
    )
