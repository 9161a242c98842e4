"""How `import torch_npu` comes to be the simulator, and when it does not."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.python_session import PythonSession

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def test_the_shim_is_not_there_unless_asked_for(run_python: RunPython) -> None:
    code = "import importlib.util as u, torch_npu_sim; print(u.find_spec('torch_npu'))"
    assert run_python(code).stdout == "None\n"


def test_the_variable_puts_it_in_place_and_children_inherit_it(run_python: RunPython) -> None:
    code = (
        "import torch, subprocess, sys, torch_npu, torchair, npugraph_ex\n"
        "child = 'import torch, torch_npu; print(torch_npu.npu is torch.npu)'\n"
        "print(torch_npu.__version__, flush=True)\n"
        "sys.exit(subprocess.run([sys.executable, '-c', child]).returncode)"
    )
    done = run_python(code, NPU_SIM_SHIM="1")
    assert done.stdout == "2.13.0\nTrue\n", done.stderr


def test_a_real_installation_is_never_shadowed(run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "torch_npu.py").write_text("real = True\n")
    code = (
        "import torch, torch_npu_sim, torch_npu\n"
        "print(torch_npu.real)\n"
        "del __import__('sys').modules['torch_npu']\n"
        "try:\n"
        "    torch_npu_sim.install_as_torch_npu()\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    done = run_python(code, NPU_SIM_SHIM="1", PYTHONPATH=str(tmp_path))
    real, refusal = done.stdout.splitlines()
    assert real == "True"
    assert refusal.startswith("install_as_torch_npu: expected no torch_npu, got the one in ")
    assert str(tmp_path) in refusal


def test_asking_twice_changes_nothing(shim: PythonSession) -> None:
    shim.run(
        "import sys\n"
        "before = list(sys.path), list(sys.meta_path)\n"
        "torch_npu_sim.install_as_torch_npu()\n"
        "assert before == (sys.path, sys.meta_path)"
    )


def test_modules_are_those_of_the_simulator_and_keep_their_names(shim: PythonSession) -> None:
    shim.run(
        "import importlib\n"
        "for name, own in {\n"
        "    'torch_npu.npu': 'torch_npu_sim.npu',\n"
        "    'torch_npu.npu.utils': 'torch_npu_sim.npu.legacy_names',\n"
        "    'torch_npu.npu.amp.grad_scaler': 'torch_npu_sim.npu.amp.grad_scaler',\n"
        "    'torch_npu.npu.graphs': 'torch_npu_sim.npu.later',\n"
        "    'torch_npu.optim.npu_fused_adamw': 'torch_npu_sim.optim.adam',\n"
        "    'torch_npu.contrib.module.npu_modules':"
        " 'torch_npu_sim.contrib.module.npu_modules',\n"
        "}.items():\n"
        "    module = importlib.import_module(name)\n"
        "    assert module is importlib.import_module(own), name\n"
        "    assert module.__spec__.name == module.__name__ == own, name"
    )


def test_a_module_that_is_nowhere_is_not_found(shim: PythonSession) -> None:
    shim.run(
        "try:\n"
        "    import torch_npu.npu.no_such_module\n"
        "    raise AssertionError('found')\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'torch_npu.npu.no_such_module'"
    )


def test_attributes_may_be_set(shim: PythonSession) -> None:
    shim.run(
        "torch_npu.npu_made_up = lambda x: x + 1\n"
        "torch_npu.npu.made_up = 3\n"
        "assert torch_npu.npu_made_up(1) == 2 and torch.npu.made_up == 3\n"
        "del torch_npu.npu_made_up, torch_npu.npu.made_up"
    )


def test_the_version_is_that_of_the_metadata(shim: PythonSession) -> None:
    shim.run(
        "import importlib.metadata, torch_npu.version\n"
        "assert importlib.metadata.version('torch_npu') == torch_npu.__version__ == '2.13.0'\n"
        "assert torch_npu.version.__version__ == '2.13.0'"
    )


def test_numbers_of_formats_are_those_of_torch_npu(shim: PythonSession) -> None:
    shim.run(
        "assert (torch_npu.int4, torch_npu.hifloat8, torch_npu.float8_e4m3fn) == (285, 290, 292)\n"
        "assert (torch_npu.float4_e2m1fn_x2, torch_npu.float4_e1m2fn_x2) == (296, 297)\n"
        "from torch_npu._C._cd import DType\n"
        "assert DType.float8_e8m0fnu == torch_npu.float8_e8m0fnu == 293\n"
        "assert torch_npu.Format.FRACTAL_NZ == 29 and str(torch_npu.Format.ND) == 'ND'"
    )


def test_libraries_take_the_device_for_an_npu(shim: PythonSession) -> None:
    shim.run(
        "from transformers.utils import is_torch_npu_available\n"
        "from accelerate.utils import is_npu_available\n"
        "assert is_torch_npu_available() and is_npu_available()\n"
        "import accelerate\n"
        "assert accelerate.Accelerator().device.type == 'npu'\n"
        "import safetensors.torch\n"
        "safetensors.torch.save_file({'a': torch.ones(3).npu()}, 'a.safetensors')\n"
        "loaded = safetensors.torch.load_file('a.safetensors', device='npu:0')\n"
        "assert loaded['a'].device == torch.device('npu:0')\n"
        "assert loaded['a'].tolist() == [1, 1, 1]"
    )


def test_a_trainer_of_transformers_trains_on_the_card(shim: PythonSession) -> None:
    shim.run(
        "import transformers\n"
        "config = transformers.LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32,\n"
        "    num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)\n"
        "transformers.set_seed(0)\n"
        "model = transformers.LlamaForCausalLM(config)\n"
        "rows = [{'input_ids': torch.arange(8), 'labels': torch.arange(8)}] * 8\n"
        "arguments = transformers.TrainingArguments('trained', max_steps=4, learning_rate=0.1,\n"
        "    per_device_train_batch_size=4, logging_steps=1, report_to=[], disable_tqdm=True,\n"
        "    bf16=True, save_strategy='no')\n"
        "trainer = transformers.Trainer(model, arguments, train_dataset=rows)\n"
        "trainer.train()\n"
        "losses = [entry['loss'] for entry in trainer.state.log_history if 'loss' in entry]\n"
        "assert model.device.type == 'npu' and arguments.device.type == 'npu'\n"
        "assert losses[-1] < 0.75 * losses[0], losses"
    )
