"""Repeat a step of a run: ``python3 -m ssl_core.diagnostics.replay FOLDER`` shows where a run diverged, and why.

    python3 -m ssl_core.diagnostics.replay outputs/mine                              # the step at which it diverged
    python3 -m ssl_core.diagnostics.replay outputs/mine --step 1200                  # any other
    python3 -m ssl_core.diagnostics.replay outputs/mine --method my_idea.py:MyIdea   # a method whose file has moved
    torchrun --nproc-per-node=2 -m ssl_core.diagnostics.replay outputs/mine          # of a run of two ranks

The run is continued from its last checkpoint before the step; everything random is a function of seed, epoch and batch.
Evaluations are skipped, except the one in which the run diverged, and nothing is written into the folder. Exit code 0: the
outcome equals the recorded one; 1: it does not; else that of the error (``ssl_core.errors``).
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ssl_core.base_model import BaseModel
from ssl_core.batch import Batch
from ssl_core.diagnostics.step_inspection import StepInput, StepInspection, inspect_step
from ssl_core.errors import ConfigError, DivergedError, RunError
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import RECORDED, class_of_run
from ssl_core.training.data.batches import Batches
from ssl_core.training.session import RunSession
from ssl_eval.output_stream import protect_output

# Entries of diverged.json that are compared
COMPARED = ("during", "epoch", "batch", "step", "term", "value", "rank", "parameters", "terms", "samples")


@dataclass
class Replay:
    """A repeated step."""

    step: int
    began: int  # the step of the checkpoint
    is_main: bool  # whether this rank prints
    batches: list[StepInspection] = field(default_factory=list)  # of the step, on all ranks; several if it accumulates
    record: dict[str, Any] | None = None  # diverged.json, if it is of this step
    found: dict[str, Any] | None = None  # the same record of the replay; None: it did not diverge

    @property
    def differences(self) -> list[str]:
        """Return the entries of the record that the replay did not reproduce bit by bit."""
        if self.record is None:
            return []
        known = [key for key in COMPARED if key in self.record]
        return [key for key in known if self.found is None or self.found[key] != self.record[key]]

    def __str__(self) -> str:
        lines = [f"step {self.step}, trained on from step {self.began}"]
        for each in self.batches:
            lines += [f"epoch {each.epoch + 1}, batch {each.batch}, rank {each.rank}", str(each)]
        if self.found is not None:
            value, names = self.found["value"], ", ".join(self.found["parameters"])
            lines.append(f"diverged   {self.found['term']} is {value}{f', not finite in {names}' if names else ''}")
        if self.record is not None:
            same = (
                "the same, bit by bit"
                if not self.differences
                else f"not the same: {', '.join(self.differences)} differ"
            )
            outcome = same if self.found is not None else "not the same: now it has not diverged"
            lines.append(f"recorded   {self.record['term']} is {self.record['value']}: {outcome}")
        return "\n".join(lines)


@dataclass(kw_only=True)
class RecordedBatches(Batches):
    """The training batches of a session; records the inputs of one optimizer step, and raises after it."""

    step: int
    state: Callable[[], dict[str, Any]]  # the state dict of the model
    recorded: list[StepInput] = field(default_factory=list)  # one for each batch of the step, with a copy of the model

    def training(self) -> Iterator[Batch]:
        """Yield the rest of an epoch, up to the end of the step."""
        for batch in super().training():
            if self.progress.step > self.step:
                raise StepDone
            if self.progress.step == self.step:
                self.recorded.append(copy.deepcopy(StepInput(self.progress, self.state(), batch)))
            yield batch


class StepDone(Exception):
    """The recorded step is complete."""


def replay(
    model_class: type[BaseModel] | None, folder: str | Path, step: int | None = None, data: Any = None
) -> Replay:
    """Repeat one optimizer step of a run and inspect it. Writes nothing.

    Parameters
    ----------
    model_class, data
        As in :func:`ssl_core.run.load_config.read_config`.
    folder : str or Path
        The run folder.
    step : int, optional
        Number of the optimizer step, from 0, as in ``diverged.json``. Default: the step at which the run diverged.

    Returns
    -------
    Replay
        ``str()`` of it is the report.

    Raises
    ------
    ConfigError
        If there is no such step, or the run had another number of ranks.
    RunError
        If the folder is not a run, or has no intact checkpoint.
    """
    run = RunFolder(folder)
    kind, config = read_config(run, model_class, data)
    record = run.read_divergence()
    if step is None and record is None:
        raise ConfigError(f"'{run.path}' has no {run.diverged.name}: it has not diverged; name a step with --step N")
    wanted = step if step is not None else record["step"]  # type: ignore[index]
    facts = {**run.read_summary(), **(record or {})}
    model = kind(config)
    session = RunSession(config, writes=False)
    ranks = facts.get("ranks", 1)
    if session.distributed.world_size != ranks:
        raise ConfigError(
            f"'{run.path}' is a run of {ranks} ranks and this is one of {session.distributed.world_size}: "
            f"torchrun --nproc-per-node={ranks} -m ssl_core.diagnostics.replay {run.path}"
        )
    session.nan_guard.writes, session.nan_guard.every_steps = False, 1
    session.checkpoints.up_to = wanted
    with session:
        if "threads" in facts:
            torch.set_num_threads(facts["threads"])  # sums depend on how they are split
        if not 0 <= wanted < session.plan.total_steps:
            raise ConfigError(f"--step {wanted}: the run has the steps 0 to {session.plan.total_steps - 1}")
        model.use(session)
        session.begin(kind)
        batches = RecordedBatches(step=wanted, state=model.state_dict, **vars(session.batches))
        session.batches = batches
        model.initialize()
        found = Replay(wanted, model.progress.step, session.distributed.is_main)
        found.record = record if record and record["step"] == wanted else None
        try:
            try:
                _train_up_to(model, wanted)
            finally:  # also of a step that diverges
                own = [inspect_step(model, each) for each in batches.recorded]
            session.nan_guard.check_weights(model.named_parameters())
            if found.record is not None and found.record["during"] == "evaluation":
                model.eval_epoch()
        except DivergedError as error:
            if error.record["step"] != wanted:
                raise
            found.found = error.record
        found.batches = [each for of_a_rank in session.distributed.collect(own) for each in of_a_rank]
    return found


def _train_up_to(model: BaseModel, step: int) -> None:
    """Train to the end of a step, epoch by epoch as ``fit`` does, without evaluations."""
    model.progress.between_epochs = False
    try:
        while model.progress.step <= step and model.progress.epoch < model.config.optim.epochs:
            model.train_epoch()
            model.progress.end_epoch()
    except StepDone:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    protect_output()
    parser = argparse.ArgumentParser("python3 -m ssl_core.diagnostics.replay", description="Repeat one step of a run.")
    parser.add_argument("folder", help="the run folder")
    parser.add_argument("--step", type=int, help="the optimizer step; default: the one at which the run diverged")
    parser.add_argument("--method", metavar="FILE.py:Class", help="the method, where its file has moved")
    parser.add_argument("--data", metavar="FILE.py:Class", help="the data configuration, likewise")
    given = parser.parse_args(arguments)
    try:
        run = RunFolder(given.folder)
        method, data = (class_of_run(what, getattr(given, what), run.read_summary(), run.path) for what in RECORDED)
        found = replay(method, given.folder, given.step, data)
    except (ConfigError, RunError) as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    if found.is_main:
        print(found, flush=True)
    return 1 if found.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
