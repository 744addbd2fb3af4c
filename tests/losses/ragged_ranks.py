"""Ranks that hold different numbers of rows: a script, three ranks forked from one process.

    python3 ragged_ranks.py FOLDER

What takes rows that are not a rank's samples, but a part of them that differs from rank to rank, runs on three ranks with 5,
0 and 7 of 12 rows; each rank writes to ``FOLDER/out.RANK``.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_losses import IBOTLoss, sinkhorn

PARTS = [slice(0, 5), slice(5, 5), slice(5, 12)]


def rows(seed: int) -> Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks() -> Tensor:
    """Six images of four patches, two for each rank: 5 of the first two are masked, none, and 7."""
    return torch.tensor(
        [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 1]], dtype=torch.bool
    )


def results(part: slice, images: slice) -> dict[str, Any]:
    """Return what one process makes of its rows."""
    out: dict[str, Any] = {"sinkhorn": sinkhorn(rows(0)[part], 0.5)}
    for centering in ("mean", "sinkhorn"):
        loss = IBOTLoss(num_prototypes=4, centering=centering, teacher_temperature=0.5).double()
        student = rows(1).requires_grad_()
        values = [loss(student[part] * step, rows(step + 1)[part], masks()[images]) for step in (1, 2)]
        (gradient,) = torch.autograd.grad(values[1], student)
        out[f"ibot {centering}"] = {
            "values": torch.stack(values).detach(),
            "gradient": gradient,
            "state": loss.state_dict(),
        }
    return out


def rank_main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=3, timeout=timedelta(seconds=60)
    )
    torch.save(results(PARTS[rank], slice(2 * rank, 2 * rank + 2)), folder / f"out.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.start_processes(rank_main, args=(Path(sys.argv[1]),), nprocs=3, start_method="fork")
