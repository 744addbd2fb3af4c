"""All ranks of one process group, forked from one process: a script, started once for each number of ranks.

    python3 ranks.py WORLD_SIZE FOLDER NAME...

Each rank takes its share of two batches through a small network and each of the losses named, and writes to
``FOLDER/out.RANK`` what came out: the losses, the gradients averaged over the ranks as DDP does, the state, and how it
refuses batches that do not fit together.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from contract import SAMPLES, leaf_arguments, load, module, network, network_arguments, state_of
from torch import Tensor
from torch.utils._pytree import tree_map

BATCHES = 2  # the second one meets the state that the first one has left


def steps(name: str, part: slice) -> list[tuple[Tensor, list[Tensor], dict[str, Tensor]]]:
    """Return loss, gradients and state of each step that one process makes with its part of the batches."""
    loss, model = module(name), network()
    parameters = [*model.parameters(), *loss.parameters()]
    results = []
    for batch in range(BATCHES):
        torch.manual_seed(dist.get_rank() if dist.is_initialized() else 99)  # ranks share no random state
        value = loss(*network_arguments(name, model, part, batch))
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        results.append((value.detach(), [g for g in gradients if g is not None], state_of(loss)))
    return results


def averaged(results: list[tuple[Tensor, list[Tensor], dict[str, Tensor]]]) -> list[Any]:
    for _, gradients, _ in results:
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return results


def refusal(name: str, part: slice, bad: bool = False) -> str:
    """Return how this rank refuses its part of a batch."""
    arguments, _ = leaf_arguments(name, part)
    if bad:
        arguments = tree_map(lambda z: z.long() if isinstance(z, Tensor) and z.is_floating_point() else z, arguments)
    loss = module(name)
    before = state_of(loss)
    try:
        loss(*arguments)
    except ValueError as error:
        after = loss.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before), f"{name}: a refused batch moved the state"
        return str(error)
    return "accepted"


def rank_main(rank: int, world_size: int, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    n = SAMPLES // world_size
    share = slice(rank * n, (rank + 1) * n)
    results = {}
    for name in names:
        try:
            results[name] = {
                "steps": averaged(steps(name, share)),
                "uneven": refusal(name, slice(0, n - (rank == world_size - 1))),
                "one bad": refusal(name, share, bad=rank == 0),
                "again": averaged(steps(name, share)),  # after a refusal the ranks are still in step
            }
        except Exception as error:
            error.add_note(f"rank {rank} of {world_size}, loss {name}, targets {set(load(name).targets)}")
            raise
    torch.save(results, folder / f"out.{rank}")
    dist.destroy_process_group()


def main() -> None:
    world_size, folder, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.multiprocessing.start_processes(
        rank_main, args=(world_size, folder, names), nprocs=world_size, start_method="fork"
    )


if __name__ == "__main__":
    main()
