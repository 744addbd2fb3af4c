"""GradCache on two ranks under DistributedDataParallel: a script. ``python3 grad_cache_ranks.py FOLDER``

Each rank writes the gradients that it holds after a step, to ``FOLDER/out.RANK``.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_losses import CLIPLoss, grad_cache

WORLD_SIZE, SAMPLES = 2, 12


def setting():
    """Return two encoders (one with buffers), a criterion with a parameter, and two batches, always the same."""
    torch.manual_seed(0)
    images = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    texts = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    texts.register_buffer("seen", torch.zeros(1))
    x, y = torch.randn(SAMPLES, 6, dtype=torch.float64), torch.randn(SAMPLES, 5, dtype=torch.float64)
    return images, texts, CLIPLoss(logit_scale=5.0).double(), x, y


def rank_main(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=WORLD_SIZE)
    images, texts, criterion, x, y = setting()
    wrapped = [DistributedDataParallel(module) for module in (images, texts)]
    share = slice(rank * SAMPLES // WORLD_SIZE, (rank + 1) * SAMPLES // WORLD_SIZE)
    loss = grad_cache(wrapped, [x[share], y[share]], criterion, chunk_size=4)  # 6 samples: a whole chunk and a half
    gradients = [p.grad for module in (images, texts, criterion) for p in module.parameters()]
    torch.save({"loss": loss, "gradients": gradients}, folder / f"out.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.start_processes(rank_main, args=(Path(sys.argv[1]),), nprocs=WORLD_SIZE, start_method="fork")
