"""Kill a run at any point, resume it, and compare the result with that of an uninterrupted run, bit by bit.

    python3 runs/bench/crash_recovery.py --n 300                  # kill -9 at random moments, then at each place of a save
    python3 runs/bench/crash_recovery.py --n 100 --signal TERM    # a signal after which the run saves
    python3 runs/bench/crash_recovery.py --n 100 --damage         # damage the newest checkpoint after each kill
    python3 runs/bench/crash_recovery.py --n 100 --ranks 2        # kill one of two ranks, or both; send a signal to one

The run has every kind of state: weights, batch statistics, momentum, a teacher, a queue, a center, dropout, online probes. Each
of its processes is forked from this one, where everything is imported, and really killed; a third of the restarts is killed
again. The comparison covers the last checkpoint and ``metrics.jsonl``, without timings. Prints how many runs are equal, and the
phases in which they were killed.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, Teacher
from ssl_core.backbones import build_backbone
from ssl_core.batch import Batch
from ssl_core.errors import RunError
from ssl_core.modules.heads import mlp
from ssl_data.config import DataConfig
from ssl_losses import DINOLoss, InfoNCELoss

PHASES = ("start", "loading", "step", "save", "evaluation", "between", "end")
PLACES = ("begin", "written", "synced", "named", "pruning")  # in a save, see kill_at
DAMAGES = ("0 %", "1 %", "50 %", "99 %", "flip", "zero", "missing")
GIVE_UP_SECONDS = 60.0  # limit for the other processes of a run after one has ended
options = argparse.Namespace(background=False)  # of the command line, for all forks
_process = multiprocessing.get_context("fork")
_phase: Any = _process.Value("i", 0, lock=False)  # phase of the running process: it writes, this process reads


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Set the phase during a block."""
    before, _phase.value = _phase.value, PHASES.index(name)
    try:
        yield
    finally:
        _phase.value = before


class Everything(BaseModel):
    """A method with MoCo's queue, DINO's center and a teacher."""

    def initialize_modules(self) -> None:
        self.backbone = build_backbone("resnet9", self.image_shape, width=4)
        self.projector = nn.Sequential(nn.Dropout(0.1), mlp([self.backbone.num_features, 32, 16]))
        self.teacher = Teacher(nn.Sequential(self.backbone, self.projector), momentum=0.9, final_momentum=1.0)
        self.contrast = InfoNCELoss(temperature=0.2, queue_size=100)
        self.distillation = DINOLoss(num_prototypes=16)

    def forward(self, x: Tensor) -> Tensor:
        return self.probes.scores("backbone", self.backbone(x))

    def compute_loss(self) -> dict[str, Tensor]:
        a, b = self.data[0]
        students, teachers = (
            [self.projector(self.backbone(view)) for view in (a, b)],
            [self.teacher(a), self.teacher(b)],
        )
        return {
            "contrast": self.contrast(students[0], teachers[1]),
            "distillation": 0.1 * self.distillation(students, teachers),
        }

    # the phase

    def before_train_epoch(self) -> None:
        _phase.value = PHASES.index("loading")
        super().before_train_epoch()

    def train_step(self, batch: Batch) -> bool:
        with phase("step"):
            return super().train_step(batch)

    def save_checkpoint(self) -> None:
        with phase("save"):
            super().save_checkpoint()

    def after_train_epoch(self) -> None:
        _phase.value = PHASES.index("between")

    def eval_epoch(self) -> dict[str, float]:
        with phase("evaluation"):
            return super().eval_epoch()


def configuration(folder: Path, run: str) -> Config:
    """Return a run of 3 epochs of 8 batches on a fifth of the digits, with a checkpoint every third step."""
    return Config(
        data=DataConfig(dataset="digits", views="digits", size=8, fraction=0.2, num_workers=2),
        model=ModelConfig(name="everything"),
        optim=OptimConfig(batch_size=32, epochs=3, lr=0.05, warmup_epochs=1.0, grad_max_norm=5.0, accumulation_steps=2),
        hardware=HardwareConfig(device="cpu", precision="bf16", num_threads=1),
        log=LogConfig(
            folder=str(folder), run=run, every_steps=1, eval_every=1, checkpoint_every=1, checkpoint_every_steps=3,
            progress=False, level="warning", checkpoint_in_background=options.background,
        ),
    )  # fmt: skip


def kill_at(place: str, passage: int) -> None:
    """Patch a function that a save calls, so that this process kills itself at the n-th call."""
    passed = 0

    def deadly(function: Any, argument: int, before: bool) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal passed
            result = None if before else function(*arguments, **options)
            passed += ".pt" in Path(str(arguments[argument])).suffixes
            if passed == passage:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options) if before else result

        return call

    if place in ("begin", "written"):
        torch.save = deadly(torch.save, 1, before=place == "begin")
    elif place in ("synced", "named"):
        os.replace = deadly(os.replace, 1, before=place == "synced")
    else:
        Path.unlink = deadly(Path.unlink, 0, before=True)  # type: ignore[method-assign]


def _train(folder: Path, run: str, crash: str, rank: int, ranks: int) -> None:
    """Run one process of a run; of several, each is a task of a SLURM step."""
    global _phase
    if ranks > 1:
        os.environ |= {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": str(ranks)}
        os.environ |= {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    if rank > 0:
        _phase = multiprocessing.Value("i", 0, lock=False)  # the main rank says what the run is at
    output = os.open(folder / f"{run}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if crash:
        place, _, passage = crash.partition(":")
        kill_at(place, int(passage))
    try:
        Everything(configuration(folder, run)).fit()
        _phase.value = PHASES.index("end")
    except RunError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(error.exit_code)
    os._exit(0)


def start(folder: Path, run: str, ranks: int, crash: str = "") -> list[Any]:
    """Start the processes of the run; ``crash`` is ``place:passage``, where rank 0 kills itself."""
    _phase.value = 0
    processes = [_process.Process(target=_train, args=(folder, run, crash, rank, ranks)) for rank in range(ranks)]
    for process in processes:
        process.start()
    return processes


def end(processes: list[Any], run: str) -> list[int]:
    """Wait for all processes and return their exit codes. One that continues without the others is an error."""
    for process in processes:
        process.join(GIVE_UP_SECONDS)
        if process.exitcode is None:
            raise RuntimeError(f"{run}: a process has not ended within {GIVE_UP_SECONDS} s")
    return [process.exitcode for process in processes]


def finish(folder: Path, run: str, ranks: int) -> None:
    """Start the run again, and wait for its end."""
    codes = end(start(folder, run, ranks), run)
    if any(codes):
        raise RuntimeError(f"{run} ended with {codes}:\n{(folder / f'{run}.txt').read_text()[-3000:]}")


def kill_at_random(
    folder: Path, run: str, rng: random.Random, seconds: float, number: signal.Signals, ranks: int
) -> tuple[list[str], list[float]]:
    """Start the run and send it a signal within ``seconds``, at most three times; return the phases, and the seconds to go.

    Of several ranks one gets it, the others have to notice; kill -9 comes to all of them half of the time. Processes that
    end before their signal comes are not counted.
    """
    phases, waits = [], []
    for _ in range(3):
        processes = start(folder, run, ranks)
        processes[0].join(rng.uniform(0, seconds))
        victims = processes if number == signal.SIGKILL and rng.random() < 0.5 else [rng.choice(processes)]
        if all(process.exitcode is None for process in processes):
            at, sent = PHASES[_phase.value], time.perf_counter()
            for process in victims:
                os.kill(process.pid, number)
        if any(end(processes, run)):  # they had not just ended
            phases.append(at)
            waits.append(time.perf_counter() - sent)
        if rng.random() < 2 / 3:
            break
    return phases, waits


def damage_newest(checkpoints: Path, rng: random.Random) -> str | None:
    """Damage the newest of at least two checkpoints; return how."""
    found = sorted(checkpoints.glob("step_*.pt"))
    if len(found) < 2:
        return None
    how, path = rng.choice(DAMAGES), found[-1]
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return how
    if how == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == "zero":
        content = bytearray(len(content))
    else:
        del content[len(content) * int(how.removesuffix(" %")) // 100 :]
    path.write_bytes(content)
    return how


def outcome(folder: Path, run: str) -> tuple[list[dict], dict]:
    """Return the lines of ``metrics.jsonl`` and the last state, without timings."""
    path = folder / run
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("train/images_per_second", None)
    newest = max((path / "checkpoints").glob("step_*.pt"))
    state = torch.load(newest, weights_only=True)
    assert [line["step"] for line in lines] == list(range(1, state["progress"]["step"] + 1)), (
        "a line for each step, once"
    )
    state["logger"].pop("bytes")
    for values in (state["logger"]["last"], state["logger"]["line"]):
        values.pop("train/images_per_second", None)
    assert json.loads((path / "summary.json").read_text())["status"] == "finished"
    return lines, state


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Return the paths at which two nested states differ, bit by bit."""
    if type(ours) is not type(theirs):
        return [f"{where}: {type(ours).__name__}, {type(theirs).__name__}"]
    if isinstance(ours, Tensor):
        same = ours.dtype == theirs.dtype and ours.shape == theirs.shape and torch.equal(ours, theirs)
        return [] if same else [where]
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [f"{where}: keys {sorted(map(str, ours.keys() ^ theirs.keys()))}"]
        return [each for key in ours for each in differences(ours[key], theirs[key], f"{where}/{key}")]
    if isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            return [f"{where}: {len(ours)} and {len(theirs)} entries"]
        return [each for k, pair in enumerate(zip(ours, theirs)) for each in differences(*pair, f"{where}/{k}")]
    return [] if ours == theirs else [f"{where}: {ours!r}, {theirs!r}"]


@functools.cache
def warm_up() -> None:
    """Train once in this process, so that every fork has what is imported at first use."""
    with tempfile.TemporaryDirectory() as name:
        Everything(configuration(Path(name), "warm")).fit()


@functools.cache
def uninterrupted(ranks: int) -> tuple[float, tuple[list[dict], dict]]:
    """Return the seconds that a run takes, and its outcome, which depends on no other option."""
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        finish(Path(name), "whole", ranks)
        return time.perf_counter() - begun, outcome(Path(name), "whole")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20, help="runs that are killed at random moments")
    parser.add_argument(
        "--passages", type=int, default=4, help="how often a save is let through a place before it is killed"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--signal", default="KILL", choices=("KILL", "TERM", "INT", "USR1", "USR2", "HUP"))
    parser.add_argument("--ranks", type=int, default=1, help="processes of the run")
    parser.add_argument("--damage", action="store_true", help="damage the newest checkpoint after each kill")
    parser.add_argument("--background", action="store_true", help="write checkpoints while training goes on")
    arguments = parser.parse_args(argv)
    options.background = arguments.background
    number, rng = signal.Signals[f"SIG{arguments.signal}"], random.Random(arguments.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds, expected = uninterrupted(arguments.ranks)
        print(f"a run takes {seconds:.2f} s: {len(expected[0])} lines of metrics", flush=True)
        phases, harms, waits = Counter[str](), Counter[str](), []
        equal, trials = 0, []
        for k in range(arguments.n):
            killed, waited = kill_at_random(folder, f"random{k}", rng, seconds, number, arguments.ranks)
            phases.update(killed)
            waits += waited
            if arguments.damage and (how := damage_newest(folder / f"random{k}" / "checkpoints", rng)):
                harms[how] += 1
            trials.append(f"random{k}")
        if arguments.signal == "KILL" and not arguments.damage:
            for place in PLACES:
                for passage in range(1, arguments.passages + 1):
                    run = f"{place}{passage}"
                    codes = end(start(folder, run, arguments.ranks, crash=f"{place}:{passage}"), run)
                    assert codes[0] == -signal.SIGKILL, f"{run} was not killed: {codes}"
                    phases[f"save, {place}"] += 1
                    trials.append(run)
        for run in trials:
            finish(folder, run, arguments.ranks)
            found = differences(outcome(folder, run), expected)
            equal += not found
            if found:
                print(f"{run} differs in {len(found)} places: {found[:3]}", flush=True)
    print(
        f"{equal} of {len(trials)} runs equal, seed {arguments.seed}, {arguments.ranks} ranks, {arguments.signal}: "
        f"{sum(phases.values())} kills"
    )
    print("kills by phase:", ", ".join(f"{name} {count}" for name, count in sorted(phases.items())))
    if harms:
        print("damaged newest checkpoints:", ", ".join(f"{how} {count}" for how, count in sorted(harms.items())))
    if waits and (arguments.signal != "KILL" or arguments.ranks > 1):
        waits.sort()
        print(f"from signal to the end of all: median {waits[len(waits) // 2]:.3f} s, longest {waits[-1]:.3f} s")
    return 0 if equal == len(trials) else 1


if __name__ == "__main__":
    raise SystemExit(main())
