"""What the names of torch_npu do where the simulator had none of its own."""

import json
import re

from tests.python_session import PythonSession


def test_options_are_kept_and_bad_values_refused(shim: PythonSession) -> None:
    shim.run(
        "npu = torch_npu.npu\n"
        "npu.set_option({'ACL_PRECISION_MODE': 'must_keep_origin_dtype', 'ANY': 1})\n"
        "assert torch_npu._C._npu_getOption('ANY') == b'1'\n"
        "assert torch_npu._C._npu_getOption('NONE') is None\n"
        "npu.set_compile_mode(jit_compile=True)\n"
        "assert not npu.is_jit_compile_false()\n"
        "npu.set_compile_mode(jit_compile=False)\n"
        "assert npu.is_jit_compile_false()\n"
        "npu.config.allow_internal_format = True\n"
        "assert npu.config.allow_internal_format\n"
        "assert npu.conv.allow_hf32 and not npu.matmul.allow_hf32\n"
        "npu.matmul.cube_math_type = npu.CubeMathType.USE_HF32\n"
        "assert npu.matmul.cube_math_type == 3\n"
        "for kind, call in ((TypeError, lambda: npu.set_option(3)),\n"
        "    (ValueError, lambda: npu.set_option({'ACL_OP_DEBUG_LEVEL': 9})),\n"
        "    (TypeError, lambda: setattr(npu.matmul, 'cube_math_type', 3)),\n"
        "    (AssertionError, lambda: npu.set_dump('no file'))):\n"
        "    try:\n"
        "        call()\n"
        "        raise LookupError('nothing was raised')\n"
        "    except kind:\n"
        "        pass"
    )


def test_hf32_says_that_it_is_only_kept(shim: PythonSession) -> None:
    shim.run(
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    torch.npu.matmul.allow_hf32 = True\n"
        "    torch.npu.matmul.allow_hf32 = False\n"
        "assert ['timed in fp32' in str(w.message) for w in caught] == [True]"
    )


def test_typed_storages_lie_on_the_card(shim: PythonSession) -> None:
    shim.run(
        "storage = torch_npu.npu.FloatStorage(3)\n"
        "assert storage.device.type == 'npu' and storage.dtype == torch.float32\n"
        "assert torch.ones(2, dtype=torch.half).npu().storage().dtype == torch.half"
    )


def test_mstx_ranges_are_in_the_trace_of_a_profile(shim: PythonSession) -> None:
    shim.run(
        "from torch_npu.npu import mstx\n"
        "@mstx.mstx_range('decorated')\n"
        "def step():\n"
        "    return torch.ones(4).npu() + 1\n"
        "handler = torch_npu.profiler.tensorboard_trace_handler('profile', worker_name='me')\n"
        "with torch_npu.profiler.profile(on_trace_ready=handler):\n"
        "    first = mstx.range_start('outer')\n"
        "    mstx.range_push('inner'); step(); mstx.range_pop()\n"
        "    mstx.range_end(first); mstx.mark('here')\n"
        "assert mstx.range_pop() == -1"
    )
    trace = shim.run(
        "import pathlib\nprint(next(pathlib.Path('profile').rglob('trace_view.json')).resolve())"
    ).strip()
    assert re.search(r"/me_\d+_\d+_ascend_pt/ASCEND_PROFILER_OUTPUT/trace_view\.json$", trace)
    with open(trace) as file:
        names = {event.get("name") for event in json.load(file)}
    assert {"outer", "inner", "here", "decorated"} <= names
    assert any("add" in str(name) for name in names)


def test_profiler_options_are_checked(shim: PythonSession) -> None:
    shim.run(
        "p = torch_npu.profiler\n"
        "config = p._ExperimentalConfig(profiler_level=p.ProfilerLevel.Level1,\n"
        "    aic_metrics=p.AiCMetrics.AiCoreNone, export_type=[p.ExportType.Text])\n"
        "assert config.export_type == ['text']\n"
        "assert p.AiCMetrics.L2Cache in p.supported_ai_core_metrics()\n"
        "try:\n"
        "    p._ExperimentalConfig(profiler_level='Level9')\n"
        "    raise LookupError\n"
        "except ValueError as error:\n"
        "    assert 'Level9' in str(error)\n"
        "actions = [p.schedule(1, 2)(i) for i in range(4)]\n"
        "a = p.ProfilerAction\n"
        "assert actions == [a.NONE, a.RECORD, a.RECORD_AND_SAVE, a.NONE]"
    )


def test_questions_about_cann_have_answers(shim: PythonSession) -> None:
    shim.run(
        "from torch_npu.npu import utils\n"
        "assert utils.get_cann_version('HCCL') == torch_npu.utils.get_cann_version() == '9.1.0'\n"
        "assert utils._is_gte_cann_version('8.5.0') and utils._is_gte_cann_version('9.1.RC1')\n"
        "assert not utils._is_gte_cann_version('9.1.1')\n"
        "assert utils.is_support_inf_nan() and utils.get_soc_version() == 260\n"
        "assert utils.npu_check_overflow(torch.tensor([1.0, float('inf')]).npu())\n"
        "assert not utils.npu_check_overflow(1.0)"
    )


def test_a_checksum_finds_a_wrong_product(shim: PythonSession) -> None:
    shim.run(
        "torch.manual_seed(0)\n"
        "a, b = torch.randn(8, 16).npu(), torch.randn(16, 32).npu()\n"
        "assert not torch_npu.matmul_checksum(a, b, a @ b)\n"
        "wrong = a @ b\n"
        "wrong[3, 4] += 1000\n"
        "assert torch_npu.matmul_checksum(a, b, wrong)"
    )


def test_a_deterministic_region_ends_on_the_way_back(shim: PythonSession) -> None:
    shim.run(
        "on = torch.are_deterministic_algorithms_enabled\n"
        "seen = []\n"
        "x = torch.ones(2, device='npu', requires_grad=True)\n"
        "y = torch_npu.npu.enable_deterministic_with_backward(x * 1)\n"
        "assert on()\n"
        "y.register_hook(lambda grad: seen.append(on()))\n"
        "z = torch_npu.npu.disable_deterministic_with_backward(y * 2)\n"
        "assert not on()\n"
        "z.sum().backward()\n"
        "assert seen == [True] and not on() and x.grad.tolist() == [2, 2]"
    )


def test_graph_backends_run_what_was_captured_and_say_so_once(shim: PythonSession) -> None:
    shim.run(
        "import torchair, warnings\n"
        "from torchair.configs.compiler_config import CompilerConfig\n"
        "config = CompilerConfig()\n"
        "config.mode = 'reduce-overhead'\n"
        "config.experimental_config.frozen_parameter = True\n"
        "config.debug.aclgraph.disable_reinplace_inplaceable_ops_pass = True\n"
        "assert not config.debug.never_set\n"
        "def double(x):\n"
        "    return torch_npu.npu_fast_gelu(x) * 2\n"
        "x = torch.randn(4, 4).npu()\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    own = torchair.get_npu_backend(compiler_config=config)\n"
        "    for backend in (own, 'npu', 'npugraph_ex'):\n"
        "        compiled = torch.compile(double, backend=backend, fullgraph=True, dynamic=False)\n"
        "        assert torch.equal(compiled(x), double(x))\n"
        "said = [w for w in caught if 'not optimised yet' in str(w.message)]\n"
        "assert len(said) == 1\n"
        "cached = torch.npu.npugraph_ex.inference.cache_compile(double, cache_dir='x')\n"
        "assert torch.equal(cached(x), double(x))"
    )


def test_converters_of_graphs_can_be_imported_and_registered(shim: PythonSession) -> None:
    shim.run(
        "from torchair._ge_concrete_graph.fx2ge_converter import (\n"
        "    declare_supported, register_fx_node_ge_converter)\n"
        "from torchair._ge_concrete_graph.supported_declaration import F16, Support\n"
        "from torchair.ge._ge_graph import Tensor, TensorSpec, DataType\n"
        "from torchair.ge import attr\n"
        "@declare_supported([Support(F16(2, 3))])\n"
        "@register_fx_node_ge_converter(torch.ops.npu.npu_swiglu.default)\n"
        "def convert(x: Tensor) -> TensorSpec:\n"
        "    return 3\n"
        "assert convert(1) == 3\n"
        "with torchair.scope.npu_stream_switch('1', 3), torchair.scope.limit_core_num(4, 8):\n"
        "    assert torchair.scope.npu_wait_tensor(5, 6) == 5"
    )


def test_hccl_is_complete_for_one_rank_and_refuses_more(shim: PythonSession) -> None:
    shim.run(
        "import torch.distributed as dist\n"
        "options = torch_npu._C._distributed_c10d.ProcessGroupHCCL.Options()\n"
        "options.hccl_config = {'hccl_buffer_size': 200}\n"
        "dist.init_process_group('hccl', store=dist.HashStore(), rank=0, world_size=1)\n"
        "x = torch.arange(4.0).npu()\n"
        "dist.all_reduce(x); dist.broadcast(x, 0); dist.barrier()\n"
        "many = [torch.zeros(4).npu()]\n"
        "dist.all_gather(many, x)\n"
        "whole, piece, swapped = (torch.zeros(4).npu() for _ in range(3))\n"
        "dist.all_gather_into_tensor(whole, x)\n"
        "dist.reduce_scatter_tensor(piece, x)\n"
        "dist.all_to_all_single(swapped, x)\n"
        "assert all(torch.equal(y, x) for y in (many[0], whole, piece, swapped))\n"
        "uneven = torch.zeros(4).npu()\n"
        "torch_npu.distributed.all_gather_into_tensor_uneven(uneven, x, [4])\n"
        "assert torch.equal(uneven, x)\n"
        "group = dist.new_group([0], backend='hccl', pg_options=options)\n"
        "name = group._get_backend(torch.device('npu')).get_hccl_comm_name(0)\n"
        "assert name.startswith('hccl_group_')\n"
        "model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2).npu())\n"
        "model(x).sum().backward()\n"
        "assert torch.equal(model.module.weight.grad, x.expand(2, 4))\n"
        "dist.destroy_process_group()\n"
        "try:\n"
        "    dist.init_process_group('hccl', store=dist.HashStore(), rank=0, world_size=2)\n"
        "    raise LookupError\n"
        "except NotImplementedError as error:\n"
        "    assert 'expected a group of 1 rank, got 2' in str(error)"
    )


def test_combined_tensors_are_views_of_one(shim: PythonSession) -> None:
    shim.run(
        "u = torch_npu.utils\n"
        "one, two = torch.ones(2, 3).npu(), torch.full((4,), 2.0).npu()\n"
        "flat = u.npu_combine_tensors([one, two])\n"
        "flat.mul_(3)\n"
        "assert one.tolist() == [[3, 3, 3]] * 2 and two.tolist() == [6] * 4\n"
        "assert u.is_combined_tensor_valid(flat, [one, two])\n"
        "assert not u.is_combined_tensor_valid(flat, [one.clone()])\n"
        "assert u.get_part_combined_tensor(flat, 6, 4).tolist() == [6] * 4"
    )


def test_flops_are_counted_between_start_and_stop(shim: PythonSession) -> None:
    shim.run(
        "counter = torch_npu.utils.FlopsCounter()\n"
        "a = torch.ones(4, 8).npu()\n"
        "counter.start(); a @ a.T; counter.pause(); a @ a.T; counter.resume(); a @ a.T\n"
        "assert counter.get_flops()[0] == 2 * 2 * 4 * 4 * 8\n"
        "counter.stop()\n"
        "assert counter.get_flops()[0] == 0"
    )


def test_save_async_writes_what_was_there_when_it_was_called(shim: PythonSession) -> None:
    shim.run(
        "import threading\n"
        "x = torch.ones(3).npu()\n"
        "before = set(threading.enumerate())\n"
        "torch_npu.utils.save_async({'x': x}, 'x.pt')\n"
        "x.zero_()\n"
        "[t.join() for t in set(threading.enumerate()) - before]\n"
        "assert torch.load('x.pt')['x'].tolist() == [1, 1, 1]"
    )


def test_error_codes_end_messages_as_torch_npu_does(shim: PythonSession) -> None:
    text = shim.run(
        "from torch_npu.utils._error_code import ErrCode, ops_error\n"
        "print(ops_error(ErrCode.NOT_SUPPORT))"
    )
    assert re.match(
        r"\n\[ERROR\] [\d:-]+ \(PID:\d+, Device:-1, RankID:-1\) ERR01007 OPS feature not supported",
        text,
    )


def test_contrib_computes_what_its_names_say(shim: PythonSession) -> None:
    shim.run(
        "c = torch_npu.contrib\n"
        "torch.manual_seed(0)\n"
        "a, b = torch.randn(2, 3, 4).npu(), torch.randn(2, 5, 4).npu()\n"
        "torch.testing.assert_close(c.matmul_transpose(a, b), a @ b.mT)\n"
        "x = torch.randn(2, 4, 6, 3).npu()\n"
        "assert torch.equal(c.roll(x, [1, -2], (1, 2)), torch.roll(x, (1, -2), (1, 2)))\n"
        "put = c.npu_fast_condition_index_put(a, a > 0, 7.0)\n"
        "assert torch.equal(put, torch.where(a > 0, 7.0, a))\n"
        "halves = c.ChannelShuffle(4)(x[:, :2], x[:, 2:])\n"
        "assert torch.equal(torch.cat(halves, 1), x[:, [0, 2, 1, 3]])\n"
        "assert c.Focus(3, 8).npu()(torch.randn(1, 3, 8, 8).npu()).shape == (1, 8, 4, 4)\n"
        "logits, target = torch.randn(5, 10).npu(), torch.arange(5).npu()\n"
        "mine = c.LabelSmoothingCrossEntropy(10, 0.1)(logits, target)\n"
        "theirs = torch.nn.functional.cross_entropy(\n"
        "    logits, target, label_smoothing=0.1 / 0.9)\n"
        "torch.testing.assert_close(mine, theirs)\n"
        "dropped = c.NpuDropPath(0.5)(torch.ones(1000, 2).npu())\n"
        "assert set(dropped.unique().tolist()) == {0, 2}\n"
        "assert (dropped[:, 0] == dropped[:, 1]).all()\n"
        "batches = [(torch.ones(2), torch.zeros(2))] * 3\n"
        "fetcher, count = c.Prefetcher(batches), 0\n"
        "while fetcher.next()[0] is not None: count += 1\n"
        "assert count == 3"
    )


def test_the_test_case_of_torch_npu_passes_and_fails_as_it_does(shim: PythonSession) -> None:
    shim.run(
        "from torch_npu.testing.testcase import TestCase\n"
        "from torch_npu.testing.common_utils import SupportedDevices, create_common_tensor\n"
        "import numpy as np, unittest\n"
        "class Case(TestCase):\n"
        "    def test_close(self):\n"
        "        host, card = create_common_tensor([np.float32, -1, (4, 5)], -1, 1)\n"
        "        self.assertRtolEqual(host, card)\n"
        "        self.assertRtolEqual([host, host], [card, card])\n"
        "        self.assertEqual(host, card)\n"
        "    def test_one_of_many_may_differ(self):\n"
        "        host = torch.ones(20000)\n"
        "        off = host.clone(); off[3] = 2\n"
        "        self.assertRtolEqual(host, off)\n"
        "    def test_far(self):\n"
        "        self.assertRtolEqual(torch.ones(4), torch.full((4,), 1.1))\n"
        "    def test_other_shape(self):\n"
        "        self.assertRtolEqual(torch.ones(4), torch.ones(5))\n"
        "    @SupportedDevices(['Ascend910B'])\n"
        "    def test_elsewhere(self):\n"
        "        raise AssertionError\n"
        "    @SupportedDevices(['Ascend950'])\n"
        "    def test_here(self):\n"
        "        pass\n"
        "result = unittest.TestResult()\n"
        "unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)\n"
        "assert result.testsRun == 6 and not result.errors, result.errors\n"
        "failed = sorted(t.id().rpartition('.')[2] for t, _ in result.failures)\n"
        "assert failed == ['test_far', 'test_other_shape'], failed\n"
        "assert [t.id().rpartition('.')[2] for t, _ in result.skipped] == ['test_elsewhere']"
    )


def test_hifloat8_tensors_compute_in_their_nominal_dtype(shim: PythonSession) -> None:
    skipped = shim.run(
        "x = torch.tensor([1.0, -2.0, 3.0, 1000.0]).npu()\n"
        "try:\n"
        "    torch_npu.npu_dtype_cast(x, torch_npu.hifloat8)\n"
        "except NotImplementedError:\n"
        "    print('the cast is not built')\n"
        "else:\n"
        "    h = torch_npu.HiFloat8Tensor.to_hifloat8(x)\n"
        "    assert h.dtype == torch.float32 and h._data.dtype == torch.uint8\n"
        "    assert h.cpu().tolist() == [1, -2, 3, 1024]\n"
        "    assert (h + 1).cpu().tolist() == [2, -1, 4, 1025]\n"
        "    assert type(h.view(2, 2)) is torch_npu.HiFloat8Tensor\n"
        "    h.add_(1)\n"
        "    assert h.cpu().tolist()[:3] == [2, -1, 4]"
    )
    assert skipped in ("", "the cast is not built\n")


def test_hifloat8_tensors_refuse_what_is_no_code(shim: PythonSession) -> None:
    shim.run(
        "try:\n"
        "    torch_npu.HiFloat8Tensor(data=torch.ones(3))\n"
        "    raise LookupError\n"
        "except ValueError as error:\n"
        "    assert 'data of 8 bits' in str(error)"
    )
