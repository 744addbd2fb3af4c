"""One rank of the distributed test: a script, started once for each rank and number of ranks.

    python3 ranks.py RANK WORLD_SIZE STORE OUTPUT

Computes every case of ``CASES`` on its share of a fixed batch through a small network, and keeps the loss and the
network's gradient, averaged over the ranks as DDP does.
"""

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

import ssl_losses

SAMPLES, INPUTS, WIDTH = 24, 6, 5  # 24 divides by 2, 3 and 4

# name of the loss -> options; each is called with two views of WIDTH columns
CASES: dict[str, dict] = {
    "barlow_twins": {},
    "negative_cosine_similarity": {},
    "nt_xent": {"temperature": 0.2},
    "vicreg": {},
    "w_mse": {"whitening_size": 12},
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.Tanh(), nn.Linear(8, WIDTH)).double()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    base = torch.randn(SAMPLES, INPUTS, generator=generator, dtype=torch.float64)
    return base, base + 0.3 * torch.randn(SAMPLES, INPUTS, generator=generator, dtype=torch.float64)


def gradients(name: str, part: slice) -> tuple[Tensor, list[Tensor]]:
    """Return loss and parameter gradients of one process on its part of the batch."""
    model = network()
    loss = ssl_losses.LOSSES[name](**CASES[name])(*(model(x[part]) for x in inputs()))
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters()]


def main() -> None:
    rank, world_size, store, output = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    n = SAMPLES // world_size
    results = {}
    for name in CASES:
        loss, grads = gradients(name, slice(rank * n, (rank + 1) * n))
        for grad in grads:
            dist.all_reduce(grad)
            grad /= world_size
        results[name] = loss, grads
    uneven = slice(0, n + rank)  # ranks with different batches
    for name in CASES:
        try:
            gradients(name, uneven)
            results[f"{name} uneven"] = "accepted"
        except ValueError as error:
            results[f"{name} uneven"] = str(error)
    torch.save(results, f"{output}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
