"""Measure the cost of a checkpoint: milliseconds of a save and of its parts, for a ResNet-18 or for a number of bytes."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def state_of(name: str) -> dict[str, Any]:
    """Return weights and momenta of a model: ``resnet18``, or ``3.6 GB`` as three equal parts (weights, Adam's moments)."""
    import torch

    if name.endswith("GB"):
        rows = int(float(name.split()[0]) * 1e9 / 4 / 3 / 24 / 2**20)
        parts = {part: [torch.randn(rows, 2**20) for _ in range(24)] for part in ("model", "first", "second")}
        return {"model": parts.pop("model"), "optimizer": parts}
    import torchvision

    model = torchvision.models.__dict__[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def costs(name: str, repetitions: int) -> tuple[int, dict[str, list[float]]]:
    """Return the bytes of a checkpoint, and the milliseconds of a save and of its parts, one by one."""
    import torch

    from ssl_core.checkpoint.async_writer import copy_to_cpu
    from ssl_core.checkpoint.store import CheckpointStore, archive_problem

    state = state_of(name)
    folder = Path(tempfile.mkdtemp(dir=os.environ["BENCH"]))
    checkpoints, file = CheckpointStore(folder / "checkpoints"), folder / "file.pt"
    parts: dict[str, Callable[[int], Any]] = {
        "save, as a whole": lambda step: checkpoints.save(step, state),
        "torch.save": lambda step: torch.save(state, file),
        "CRC-32 of the file, when it is loaded": lambda step: archive_problem(file),
        "fsync": lambda step: _sync(file),
        "a copy in memory": lambda step: copy_to_cpu(state),
    }
    found: dict[str, list[float]] = {part: [] for part in parts}
    for step in range(repetitions):
        for part, call in parts.items():
            begin = time.perf_counter()
            call(step)
            found[part].append(1e3 * (time.perf_counter() - begin))
    size = file.stat().st_size
    shutil.rmtree(folder)
    return size, found


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def table(name: str, size: int, found: dict[str, list[float]]) -> str:
    """Return a table of reStructuredText: medians and ranges, and the share of five minutes."""
    lines = [(part, f"{statistics.median(ms):,.0f} ({min(ms):,.0f} to {max(ms):,.0f})") for part, ms in found.items()]
    width, other = max(len(part) for part, _ in lines), max(len(cell) for _, cell in lines)
    rule = f"{'=' * width}  {'=' * other}"
    rows = [f"{part.ljust(width)}  {cell}" for part, cell in lines]
    share = statistics.median(found["save, as a whole"]) / 1e3 / 300
    head = f"{name}, {size / 1e6:,.0f} MB; a save every five minutes is {share:.2%} of the time"
    return "\n".join([head, "", rule, f"{'..'.ljust(width)}  ms", rule, *rows, rule])
