"""torch.compile on npu: what dynamo and Inductor must know of the device.

Both are heavy to import, so nothing here imports them. `arm()` is called at start-up and waits for
a program to import them; only then are their registries told of npu.
"""

from torch_npu_sim.compile.arrival import when_imported

__all__ = ["arm"]


def arm() -> None:
    """Makes npu known to dynamo and Inductor as soon as a program imports them."""
    when_imported("torch._subclasses.fake_impls", "torch_npu_sim.compile.fake")
    when_imported("torch._dynamo", "torch_npu_sim.compile.dynamo")
    # Every compilation by Inductor begins in this module, and it has imported the code generators.
    when_imported("torch._inductor.compile_fx", "torch_npu_sim.compile.inductor")
