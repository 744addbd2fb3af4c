"""Real ranks (gloo): a script that forks all process groups of the tests from one process, so that torch is imported once.

    python3 ranks.py FOLDER NAME...

For 2, 3 and 4 ranks, each rank takes its share of the batches through the losses named and a few more computations, and
writes the results to ``FOLDER/WORLD_SIZE/out.RANK``.
"""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from contract import SAMPLES, leaf_arguments, load, module, network, network_arguments, state_of
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map

from ssl_losses import CLIPLoss, IBOTLoss, SigLIPLoss, grad_cache, sinkhorn
from ssl_losses.distributed import _cpu_group, agree_on

WORLD_SIZES = (2, 3, 4)
BATCHES = 2  # the second one meets the state that the first one has left


# ---- every loss, with equal shares of the batch ----


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
    """Average the gradients over the ranks, as DDP does."""
    for _, gradients, _ in results:
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return results


def error_message(name: str, part: slice, bad: bool = False) -> str:
    """Return the error that this rank raises for its part of a batch."""
    arguments, _ = leaf_arguments(name, part)
    if bad:
        arguments = tree_map(lambda z: z.long() if isinstance(z, Tensor) and z.is_floating_point() else z, arguments)
    loss = module(name)
    before = state_of(loss)
    try:
        loss(*arguments)
    except ValueError as error:
        after = loss.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before), f"{name}: an invalid batch moved the state"
        return str(error)
    return "accepted"


def losses(rank: int, world_size: int, names: list[str]) -> dict[str, Any]:
    n = SAMPLES // world_size
    share = slice(rank * n, (rank + 1) * n)
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            results[name] = {"steps": averaged(steps(name, share))}
            if world_size == 3:
                results[name] |= {
                    "uneven": error_message(name, slice(0, n - (rank == world_size - 1))),
                    "one bad": error_message(name, share, bad=rank == 0),
                    "again": averaged(steps(name, share)),  # after an error the ranks are still in step
                }
        except Exception as error:
            error.add_note(f"rank {rank} of {world_size}, loss {name}, targets {set(load(name).targets)}")
            raise
    return results


# ---- 2 ranks: GradCache under DistributedDataParallel, and SigLIP's own parameters ----


def encoders() -> tuple[nn.Module, nn.Module, nn.Module, Tensor, Tensor]:
    """Return two encoders (one with buffers), a criterion with a parameter, and two batches, always the same."""
    torch.manual_seed(0)
    images = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    texts = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    texts.register_buffer("seen", torch.zeros(1))
    x, y = torch.randn(12, 6, dtype=torch.float64), torch.randn(12, 5, dtype=torch.float64)
    return images, texts, CLIPLoss(logit_scale=5.0).double(), x, y


def cached(rank: int) -> dict[str, Any]:
    images, texts, criterion, x, y = encoders()
    wrapped = [DistributedDataParallel(module) for module in (images, texts)]
    share = slice(6 * rank, 6 * rank + 6)
    loss = grad_cache(wrapped, [x[share], y[share]], criterion, chunk_size=4)  # a whole chunk and a half
    return {"loss": loss, "gradients": [p.grad for part in (images, texts, criterion) for p in part.parameters()]}


def siglip_gradients(part: slice) -> Tensor:
    z1, z2 = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = SigLIPLoss().double()
    loss(z1[part], z2[part]).backward()
    return torch.stack([loss.log_scale.grad, loss.logit_bias.grad])


# ---- 2 ranks: the README's recipe for DistributedDataParallel ----

README = Path(__file__).parents[2] / "packages" / "ssl-losses" / "README.rst"


def readme_examples() -> list[str]:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", README.read_text())
    return ["\n".join(line[3:] for line in block.splitlines()) for block in blocks]


def recipe() -> dict[str, Any]:
    """Return what a rank has after the recipe, with the process group that is there."""
    (code,) = (code for code in readme_examples() if "init_process_group" in code)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(code.replace('dist.init_process_group("gloo")', "assert dist.is_initialized()"), names)
    return {"loss": names["loss"].detach(), "weights": [p.detach() for p in names["module"].parameters()]}


# ---- 2 ranks: the shape check where the process group has no CPU backend ----


def checks_without_a_cpu_backend(rank: int) -> dict[str, Any]:
    """Return the result of the shape check for equal and for uneven shapes, on the device meta, which has no values to read."""
    groups, messages = set(), []
    for rows in (4, 4, 4 - rank, 4):
        try:
            agree_on([torch.empty(rows, 3, device="meta")])
            messages.append("")
        except ValueError as error:
            messages.append(str(error))
        groups.add(id(_cpu_group()))
    return {"messages": messages, "groups": len(groups)}


# ---- 3 ranks: rows that are not a rank's samples, but a part of them that differs from rank to rank ----

PARTS = [slice(0, 5), slice(5, 5), slice(5, 12)]


def seeded(seed: int) -> Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks() -> Tensor:
    """Six images of four patches, two for each rank: 5 of the first two are masked, none, and 7."""
    return torch.tensor(
        [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 1]], dtype=torch.bool
    )


def uneven_rows(part: slice, images: slice) -> dict[str, Any]:
    """Return what one process computes from its rows."""
    out: dict[str, Any] = {"sinkhorn": torch.stack([sinkhorn(seeded(seed)[part], 0.5) for seed in (0, 1)], dim=1)}
    out["sinkhorn of a stack"] = sinkhorn(torch.stack([seeded(0), seeded(1)])[:, part], 0.5).transpose(0, 1)
    for centering in ("mean", "sinkhorn"):
        loss = IBOTLoss(num_prototypes=4, centering=centering, teacher_temperature=0.5).double()
        student = seeded(1).requires_grad_()
        values = [loss(student[part] * step, seeded(step + 1)[part], masks()[images]) for step in (1, 2)]
        (gradient,) = torch.autograd.grad(values[1], student)
        state = loss.state_dict()
        out[f"ibot {centering}"] = {"values": torch.stack(values).detach(), "gradient": gradient, "state": state}
    return out


def rank_main(rank: int, world_size: int, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    store, timeout = f"file://{folder / 'store'}", timedelta(seconds=60)
    options: dict[str, Any] = {"rank": rank, "world_size": world_size, "timeout": timeout}
    dist.init_process_group("gloo", init_method=store, **options)
    results: dict[str, Any] = {"losses": losses(rank, world_size, names)}
    if world_size == 2:
        results |= {"grad_cache": cached(rank), "siglip": siglip_gradients(slice(3 * rank, 3 * rank + 3))}
        results["recipe"] = recipe()
    if world_size == 3:
        results["uneven_rows"] = uneven_rows(PARTS[rank], slice(2 * rank, 2 * rank + 2))
    dist.destroy_process_group()
    if world_size == 2:
        dist.init_process_group("cuda:gloo", init_method=f"{store}.cuda", **options)  # as "nccl": nothing for the CPU
        results["no cpu backend"] = checks_without_a_cpu_backend(rank)
        dist.destroy_process_group()
    torch.save(results, folder / f"out.{rank}")


def main() -> None:
    for size in WORLD_SIZES:
        folder = Path(sys.argv[1]) / str(size)
        folder.mkdir()
        torch.multiprocessing.start_processes(
            rank_main, args=(size, folder, sys.argv[2:]), nprocs=size, start_method="fork"
        )


if __name__ == "__main__":
    main()
