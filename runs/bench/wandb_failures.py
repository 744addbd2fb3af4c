"""Measure what a failing wandb server costs a run: seconds added; weights and lines are compared.

    python3 runs/bench/wandb_failures.py --n 5              # each failure five times, in rotation with log.wandb=off
    python3 runs/bench/wandb_failures.py --n 0 --kills 3    # runs that are killed (SIGKILL) with lines already on the server

The client and its service are wandb's own; the server is the stand-in of tests/core/wandb_server.py. Each run is a process,
forked from this one, and timed from its start to its end. Its first epoch waits until the server has received a request (not
counted), so that the failure has happened. ``left`` counts processes that still exist a second later.
"""

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig

TESTS = Path(__file__).parents[2] / "tests" / "core"
FAILURES: dict[str, tuple[str, tuple[str, str] | None]] = {
    "connection refused": ("nobody", None),
    "answers 401": ("status 401", None),
    "answers 403": ("status 403", None),
    "answers 500": ("status 500", None),
    "accepts and never answers": ("hangs", None),
    "answers a byte a second": ("drips", None),
    "hangs at the start of the run": ("works", ("UpsertBucket", "hangs")),
    "hangs at the first lines": ("works", ("file_stream", "hangs")),
    "is gone at the first lines": ("works", ("file_stream", "gone")),
    "403 for the lines": ("works", ("file_stream", "status 403")),
    "works": ("works", None),
}
_process = multiprocessing.get_context("fork")


def from_tests(name: str) -> ModuleType:
    """Return a module of the tests: the stand-in for the server, the tiny method and its data."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy, stand_in = from_tests("conftest"), from_tests("wandb_server")


class Run(toy.TinyModel):  # type: ignore[name-defined, misc]
    """The tiny method, as slow as it is told to be; its first epoch takes until the server has been asked something."""

    pause = 0.0  # seconds after each step
    waited = 0.0  # seconds

    def after_train_step(self) -> None:
        super().after_train_step()
        time.sleep(self.pause)

    def after_train_epoch(self) -> None:
        folder, began = Path(self.config.log.folder), time.monotonic()
        while self.config.log.wandb == "online" and self.progress.epoch == 0 and not (folder / "asked").exists():
            time.sleep(0.02)
        self.waited += time.monotonic() - began


def fit(folder: Path, mode: str, environment: dict[str, str], epochs: int, pause: float) -> None:
    """Run; in a process of its own."""
    os.environ.update(environment)
    if environment:
        os.dup2(os.open(folder / "errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    log = LogConfig(folder=str(folder), run="run", every_steps=1, eval_every=1, checkpoint_every=1, wandb=mode)
    log.report = log.progress = False
    optim = OptimConfig(batch_size=16, epochs=epochs, lr=0.1)
    hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
    model = Run(Config(toy.ToyData(), ModelConfig(name="tiny"), optim, hardware, log))
    model.pause = pause
    model.fit()
    torch.save(model.state_dict(), folder / "weights.pt")
    (folder / "waited").write_text(str(model.waited))


def start(folder: Path, mode: str, server: Any, epochs: int = 3, pause: float = 0.0) -> Any:
    """Start a run that finds ``server``, forked from this process, where everything is loaded."""
    environment = {"HOME": str(folder), **server.environment}
    if server.behaviour == "nobody":
        environment["WANDB_BASE_URL"] = "http://127.0.0.1:9"
    process = _process.Process(target=fit, args=(folder, mode, environment, epochs, pause), daemon=True)
    process.start()
    return process


def left(folder: Path) -> int:
    """Return how many processes that a run has started are still there."""
    found = 0
    for each in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # HOME is inherited by all of them
            found += f"HOME={folder}\0".encode() in each.read_bytes()
    return found


def outcome(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the weights, as bytes, and the lines of ``metrics.jsonl`` without the timings."""
    weights = torch.load(folder / "weights.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in line.items() if not k.endswith("images_per_second")} for line in lines]
    return b"".join(value.numpy().tobytes() for value in weights.values()), timeless


def once(mode: str, behaviour: str, dies_after: tuple[str, str] | None) -> tuple[float, int, int, Any]:
    """Return seconds, exit code, processes left and the outcome of one run."""
    with tempfile.TemporaryDirectory() as name, stand_in.WandbServer(behaviour, dies_after) as server:
        folder = Path(name)
        began = time.monotonic()
        process = start(folder, mode, server)
        while mode == "online" and not server.asked and behaviour != "nobody" and process.is_alive():
            time.sleep(0.02)
        (folder / "asked").touch()
        process.join()
        seconds = time.monotonic() - began - float((folder / "waited").read_text())
        time.sleep(1.0)
        return seconds, process.exitcode, left(folder), outcome(folder)


def failures(n: int) -> bool:
    """Print the table; return whether everything was as it is to be."""
    off, rows = [], {name: [] for name in FAILURES}  # type: ignore[var-annotated]
    for _ in range(n):
        off.append(once("off", "works", None))
        for name, (behaviour, dies_after) in FAILURES.items():
            rows[name].append(once("online", behaviour, dies_after))
            print(f"{name}: {rows[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
    plain = statistics.median(seconds for seconds, *_ in off)
    spread = [seconds - plain for seconds, *_ in off]
    print(f"log.wandb=off: {plain:.2f} s in the median of {n}, {min(spread):+.2f} to {max(spread):+.2f}\n")
    print(
        f"{'the server':<32}{'seconds added, median (max)':<30}{'exit code 0':<13}{'same weights':<14}{'same lines':<12}left"
    )
    good = True
    for name, results in rows.items():
        added = [seconds - plain for seconds, *_ in results]
        zero = sum(code == 0 for _, code, _, _ in results)
        weights = sum(end[0] == off[0][3][0] for *_, end in results)
        lines = sum(end[1] == off[0][3][1] for *_, end in results)
        remaining = sum(count for _, _, count, _ in results)
        seconds = f"{statistics.median(added):.2f} ({max(added):.2f})"
        print(f"{name:<32}{seconds:<30}{f'{zero}/{n}':<13}{f'{weights}/{n}':<14}{f'{lines}/{n}':<12}{remaining}")
        good &= zero == weights == lines == n and remaining == 0 and max(added) < 5.0
    return good


def kills(n: int) -> bool:
    """Kill runs 16 to 20 s after the server knows them (wandb sends lines every 15 s), go on, and look at what has arrived."""
    equal = 0
    for trial in range(n):
        with tempfile.TemporaryDirectory() as name, stand_in.WandbServer() as server:
            folder = Path(name)
            (folder / "asked").touch()
            process = start(folder, "online", server, epochs=40, pause=0.2)
            while "UpsertBucket" not in server.requests and process.is_alive():
                time.sleep(0.02)
            time.sleep(16.0 + 4.0 * random.Random(trial).random())
            process.kill()
            process.join()
            time.sleep(4.0)  # wandb's helper for statistics looks for its parent every 2.5 s
            remaining, before = left(folder), max(server.steps(), default=0)
            checkpoint = max((path.stem for path in (folder / "run" / "checkpoints").glob("*.pt")), default="none")
            process = start(folder, "online", server, epochs=40, pause=0.2)
            process.join()
            one = len(server.runs) == 1 and server.steps() == list(range(1, 161)) and process.exitcode == 0
            print(
                f"killed with {before} steps on the server, checkpoint {checkpoint}, {remaining} processes left: "
                f"{'each of 160 steps once, in one wandb run' if one else f'{len(server.runs)} runs: {server.steps()}'}",
                flush=True,
            )
            equal += one and remaining == 0
    print(f"{equal} of {n} killed runs are on the server as if they had not been killed")
    return equal == n


def main() -> int:
    """Print the figures and return 1 if one is not as it is to be."""
    torch.set_num_threads(1)  # before the first fork
    with tempfile.TemporaryDirectory() as name:  # so that everything is loaded
        fit(Path(name), "off", {}, epochs=1, pause=0.0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5, help="runs for each failure")
    parser.add_argument("--kills", type=int, default=0, help="runs that are killed, half a minute each")
    arguments = parser.parse_args()
    good = failures(arguments.n) if arguments.n else True
    if arguments.kills:
        good &= kills(arguments.kills)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
