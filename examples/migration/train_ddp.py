"""Trains with DistributedDataParallel; a start without torchrun is one process."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Fits a line with as many processes as there are."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "0")
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    dist.init_process_group("nccl", rank=rank, world_size=size)
    local = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(local)
    torch.cuda.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(4, 1).cuda(local), device_ids=[local])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(64, 4, device=f"cuda:{local}")
    targets = inputs.sum(1, keepdim=True)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    dist.all_reduce(loss, op=dist.ReduceOp.AVG)
    gathered = [torch.empty_like(loss) for _ in range(size)]
    dist.all_gather(gathered, loss.detach())
    dist.barrier()
    print(f"rank {rank} of {size}, backend {dist.get_backend()}: loss {gathered[0].item():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
