"""A step of a run once more: ``python3 -m ssl_core.diagnostics.replay FOLDER`` shows where a run has diverged, and from what.

    python3 -m ssl_core.diagnostics.replay outputs/mine                              # the step at which it diverged
    python3 -m ssl_core.diagnostics.replay outputs/mine --step 1200                  # any other
    python3 -m ssl_core.diagnostics.replay outputs/mine --method my_idea.py:MyIdea   # a method whose file has moved
    torchrun --nproc-per-node=2 -m ssl_core.diagnostics.replay outputs/mine          # of a run of two ranks

The run is trained on from its last checkpoint before the step, as it was: everything random is a function of seed, epoch and
batch. Evaluations are left out, but for the one in which the run has diverged, and nothing is written into the folder. Exit
code 0: shown, and the same as recorded; 1: another outcome than recorded; else that of the error (``ssl_core.errors``).
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ssl_core.batch import Batch
from ssl_core.diagnostics.step_inspection import StepInspection, inspect_step
from ssl_core.errors import ConfigError, DivergedError, RunError
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import RECORDED, class_of_run
from ssl_core.training.session import RunSession
from ssl_eval.output_stream import protect_output

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel

# With the record
COMPARED = ("during", "epoch", "batch", "step", "term", "value", "rank", "parameters", "terms", "samples")


@dataclass
class Replay:
    """A step that was taken again."""

    step: int
    began: int  # the step from which the run was trained on
    is_main: bool  # whether this rank is the one that prints
    batches: list[StepInspection] = field(default_factory=list)  # of the step, on all ranks; several if it accumulates
    record: dict[str, Any] | None = None  # what diverged.json says of this step
    found: dict[str, Any] | None = None  # what the same record says now; None: it did not diverge

    @property
    def differences(self) -> list[str]:
        """Return which entries of the record are not, bit by bit, what was found now."""
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


def replay(
    model_class: "type[BaseModel] | None", folder: str | Path, step: int | None = None, data: Any = None
) -> Replay:
    """Take one optimizer step of a run again and look into it. Writes nothing.

    Parameters
    ----------
    model_class : type or None
        The :class:`ssl_core.BaseModel` of the run. None: the one of ``ssl_core.methods`` that its ``model.name`` names.
    folder : str or Path
        The run folder.
    step : int, optional
        Optimizer steps before it, as ``diverged.json`` counts them. Default: the step at which the run diverged.
    data : optional
        The dataclass of the data group, or a data configuration. Default: what an installed package offers.

    Returns
    -------
    Replay
        ``print`` it.

    Raises
    ------
    ConfigError
        If there is no such step, or the run had another number of ranks.
    RunError
        If the folder is none, or none of its checkpoints is whole.
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
        model.initialize()
        found = Replay(wanted, model.progress.step, session.distributed.is_main)
        found.record = record if record and record["step"] == wanted else None
        try:
            _train_up_to(model, found)
        except DivergedError as error:
            if error.record["step"] != wanted:
                raise
            found.found = error.record
        found.batches = [each for of_a_rank in session.distributed.collect(found.batches) for each in of_a_rank]
    return found


def _train_up_to(model: "BaseModel", found: Replay) -> None:
    """Train to the end of the step that is looked for, epoch by epoch as ``fit`` does, but for evaluations and files."""
    progress, train_step, before_train_step = model.progress, model.train_step, model.before_train_step

    def stop_behind() -> None:
        if progress.step > found.step:
            raise _Behind
        before_train_step()

    def watched(batch: Batch) -> bool:
        if progress.step < found.step:
            return train_step(batch)
        state, data, stands = copy.deepcopy(model.state_dict()), copy.deepcopy(batch), copy.copy(progress)
        try:
            return train_step(batch)
        finally:  # the step itself comes first, as it was; then it is looked at
            now, model.progress = model.progress, stands
            found.batches.append(inspect_step(model, state, data))
            model.progress = now

    for name, stand_in in (
        ("before_train_step", stop_behind), ("train_step", watched), ("save_checkpoint", lambda: None)
    ):  # fmt: skip
        setattr(model, name, stand_in)  # of this one model, for this one walk
    progress.between_epochs = False
    try:
        while progress.step <= found.step and progress.epoch < model.config.optim.epochs:
            model.train_epoch()
            progress.end_epoch()
    except _Behind:
        pass
    model.run.nan_guard.check_weights(model.named_parameters())
    if found.record is not None and found.record["during"] == "evaluation":
        model.eval_epoch()


class _Behind(Exception):
    """The step is done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the command line."""
    protect_output()
    parser = argparse.ArgumentParser(
        "python3 -m ssl_core.diagnostics.replay", description="Take one step of a run again."
    )
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
