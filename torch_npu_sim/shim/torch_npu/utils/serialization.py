"""Saving that does not make the training loop wait."""

import threading
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

__all__ = ["load", "save", "save_async"]

load = torch.load
save = torch.save


def save_async(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
    model: torch.nn.Module | None = None,
) -> None:
    """Copies the tensors of `obj` to the host, then writes them in a thread.

    The interpreter waits for the thread before it ends. `model` is accepted and not needed: the
    copies are made before the call returns, so the next step may change the tensors.
    """
    del pickle_module, model
    kept = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), obj)
    options = {
        "pickle_protocol": pickle_protocol,
        "_use_new_zipfile_serialization": _use_new_zipfile_serialization,
        "_disable_byteorder_record": _disable_byteorder_record,
    }
    threading.Thread(target=torch.save, args=(kept, f), kwargs=options).start()
