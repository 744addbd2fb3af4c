"""Evaluate: from a command line to the metrics of checkpoints, here or in one job for each."""

import dataclasses
import glob
import json
import logging
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import option
from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.fine_tuning import FineTuning
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.robustness import Corruptions, Shifts
from ssl_core.config.transfer import Transfer
from ssl_core.config.validation import build_groups, check_groups, known_keys
from ssl_core.config.zero_shot import ZeroShot
from ssl_core.distributed.launch_environment import check_one_process
from ssl_core.errors import ConfigError, RunError
from ssl_core.run.folder import RunFolder
from ssl_core.run.source_location import changed_code, class_of_run, load_class
from ssl_eval import Protocol, Table
from ssl_eval.metrics.registry import readable
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.robustness_tables import robustness_tables
from ssl_eval.report.transfer_table import transfer_table
from ssl_launch.commands.evaluation_parts import check_parts
from ssl_launch.commands.help_texts import EVALUATE
from ssl_launch.commands.other_images import openers
from ssl_launch.hydra_app.app import run_command
from ssl_launch.hydra_app.override_syntax import quoted
from ssl_launch.run_path import find_run, missing_run

_message = logging.getLogger(__name__)
GROUPS = ("data", "model", "optim", "hardware", "log")  # of a baseline
# Optional parts of a protocol
PARTS: dict[str, Any] = {
    "finetune": FineTuning, "corruptions": Corruptions, "shifts": Shifts, "transfer": Transfer, "dense": DenseEvaluation,
    "landmarks": Landmarks, "zero_shot": ZeroShot,
}  # fmt: skip
PROTOCOL: dict[str, Any] = {"eval": Protocol, **{f"eval.{name}": kind for name, kind in PARTS.items()}}
OPTIONS = {"--method": "method_class", "--data": "data_class", "--watch": "watch=true"}  # option -> key
_KEY = re.compile(r"[+~]*[\w./@:]+=")
POLL_SECONDS = 5.0  # between two looks for a new checkpoint


@dataclass
class EvaluationConfig:
    """Runs or backbone to evaluate. The protocol is the group ``eval``."""

    run: str | None = None  # a run folder, or the file of a checkpoint
    backbone: str | None = None  # in place of run: a name of ssl_core.backbones or timm
    weights: str | None = None  # weights of that backbone: a file, a run folder, or DEFAULT; null: random
    checkpoint: str | int = option("newest", low=0)  # newest, all, or the number of a step
    device: str = option("auto", choices=("auto", "cpu", "cuda"))  # device of the evaluation; auto: cuda if available
    view_samples: int = option(1000, low=0)  # training images for lidar and alignment; 0: none
    ood: str | list[str] = field(default_factory=list)  # out-of-distribution images: names of data sets, or folders
    watch: bool = False  # evaluate the checkpoints of a run in progress as they appear
    method_class: str | None = None  # --method FILE.py:MyIdea; null: the class that the run has recorded
    data_class: str | None = None  # --data FILE.py:MyData; null: as recorded


def evaluate(method: type | None = None, *, data: Any = None) -> None:
    """Evaluate runs from the command line of the calling script, ``runs/eval.py``.

    Parameters
    ----------
    method : type, optional
        The :class:`ssl_core.BaseModel` of the runs. Default: the one of ``ssl_core.methods`` that their ``model.name`` names.
    data : optional
        As in :func:`ssl_launch.launch`.

    Notes
    -----
    A glob, ``checkpoint=all`` and a list of runs are one evaluation for each checkpoint: one after the other here, and an
    array of jobs with ``hydra/launcher=submitit_slurm``. The exit codes are those of :func:`ssl_launch.launch`.
    """
    run_command(
        "evaluation",
        EVALUATE,
        lambda composed: _evaluate(composed, method, data),
        _whole,
        name_runs,
        options=OPTIONS,
        keys=_known_keys,
    )


def _evaluate(composed: DictConfig, method: type | None, data: Any) -> None:
    asked, protocol, parts, settings = asked_of(composed)
    check_one_process("an evaluation")
    if (asked.run is None) == (asked.backbone is None):
        raise ConfigError(
            "run: name a run, e.g. run=simclr_affine_digits, or a backbone without a run, e.g. backbone=resnet18"
        )
    if asked.backbone is not None:
        overrides = list(HydraConfig.get().overrides.task)
        if asked.data_class is not None:
            data = load_class(asked.data_class)
        from ssl_launch.commands.baseline import make_baseline  # imports torch

        asked.run = str(make_baseline(asked.backbone, asked.weights, settings, overrides, asked.device, data).path)
        method = None
    run, checkpoint = _target(str(asked.run), asked.checkpoint)
    method, data = _classes(run, asked, method, data)
    from ssl_launch.commands.evaluate_run import evaluate_run  # imports torch

    options: dict[str, Any] = {
        "parts": parts, "method": method, "data": data, "device": asked.device, "view_samples": asked.view_samples,
        "others": openers(asked.ood, "ood", run),
    }  # fmt: skip
    for each in _appearing(run) if asked.watch else [checkpoint]:
        try:
            for path in evaluate_run(run, protocol, each, **options):
                document = json.loads(path.read_text())
                tables = "\n\n".join(table.to_text() for table in _tables(document))
                pictures = [run.path / file for file in document.get("pictures", {}).values()]
                print(tables, path, *pictures, sep="\n", flush=True)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise RunError(f"'{run.path}' cannot be evaluated: {error}") from error


def _classes(run: RunFolder, asked: EvaluationConfig, method: type | None, data: Any) -> tuple[type | None, Any]:
    """Return the method and data classes of a run; None for those of the packages."""
    summary = run.read_summary()
    for file in changed_code(summary):
        _message.warning(
            "'%s' has changed since '%s' was trained: its weights are evaluated with the new code", file, run.path
        )
    if method is None or asked.method_class is not None:
        method = class_of_run("method", asked.method_class, summary, run.path)
    if data is None:
        data = class_of_run("data", asked.data_class, summary, run.path)
    return method, data


def asked_of(composed: DictConfig) -> tuple[EvaluationConfig, Protocol, dict[str, Any], dict[str, Any]]:
    """Return the settings, the protocol, those of ``PARTS`` that it has, and the configuration groups of a baseline."""
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    protocol = plain.pop("eval", None) or {}
    optional = {name: protocol.pop(name) for name in PARTS if protocol.get(name) is not None}
    protocol = {key: value for key, value in protocol.items() if key not in PARTS}
    settings = {group: plain.pop(group) or {} for group in GROUPS if group in plain}
    groups = {"": EvaluationConfig, "eval": Protocol, **{f"eval.{name}": PARTS[name] for name in optional}}
    given = {"": plain, "eval": protocol, **{f"eval.{name}": values for name, values in optional.items()}}
    built = build_groups(groups, given, _known_keys())
    asked, kept = built[""], built["eval"]
    if asked.backbone is not None and asked.method_class is not None:
        raise ConfigError("--method: a run has a method; backbone=NAME evaluates a backbone without a run")
    if asked.backbone is None and (asked.weights is not None or settings):
        key = "weights" if asked.weights is not None else next(iter(settings))
        raise ConfigError(f"{key}: only for backbone=NAME; a run has its own")
    check_groups(built)
    parts = {name: built[f"eval.{name}"] for name in optional}
    check_parts(parts)
    return asked, kept, parts, settings


def _whole(composed: DictConfig) -> dict[str, Any]:
    asked, protocol, parts, settings = asked_of(composed)
    shown = dataclasses.asdict(protocol) | {name: dataclasses.asdict(part) for name, part in parts.items()}
    return {**dataclasses.asdict(asked), **settings, "eval": shown}


def _tables(document: dict[str, Any]) -> list[Table]:
    """Return a file of ``eval/`` as tables."""
    rows = [
        [readable(name), None if value is None else metric_cell(name, [value])]
        for name, value in document["metrics"].items()
    ]
    title = f"{document['dataset']}: {document['protocol']} protocol, step {document['step']}"
    reasons: dict[str, list[str]] = {}
    for name, reason in document.get("omitted", {}).items():
        reasons.setdefault(reason, []).append(readable(name))
    omitted = [f"not computed: {', '.join(names)} ({reason})" for reason, names in reasons.items()]
    if "transfer" in document:
        return [transfer_table(document)]
    notes = [*_zero_shot_notes(document), *omitted]
    return [*robustness_tables(document), Table(title, ["", document["backbone"]], rows, notes)]


def _zero_shot_notes(document: dict[str, Any]) -> list[str]:
    """Return what a zero-shot classification compared, as one note; no note for other evaluations."""
    how = document.get("zero_shot")
    if how is None:
        return []
    given = f"{how['classes']} classes, templates: {how['templates']}, assigned by {how['assigned_by']}"
    return [f"images: {how['features']}, {how['width']} dimensions; texts: {given}"]


def _known_keys() -> list[str]:
    return [*(field.name for field in dataclasses.fields(EvaluationConfig)), *sorted(known_keys(PROTOCOL))]


def _target(run: str, checkpoint: str | int) -> tuple[RunFolder, Path | None]:
    """Return the run folder and the checkpoint; None for its newest intact one."""
    path = Path(run)
    if path.suffix == ".pt":
        if not path.is_file():
            raise ConfigError(f"run={run!r}: this checkpoint does not exist")
        return RunFolder(path.parent.parent), path
    folder = RunFolder(path)
    if not path.is_dir():
        raise ConfigError(f"run={run!r}: this folder does not exist")
    if checkpoint == "newest":
        return folder, None
    if checkpoint == "all":
        raise ConfigError(
            "checkpoint='all': expected with a run on the command line, stable-ssl eval RUN checkpoint=all"
        )
    if not isinstance(checkpoint, int):
        raise ConfigError(f"checkpoint={checkpoint!r}: expected newest, all or the number of a step")
    found = {int(each.stem.removeprefix("step_")): each for each in folder.checkpoints.glob("step_*.pt")}
    if checkpoint not in found:
        steps = f"one of {', '.join(map(str, sorted(found)))}" * bool(found)
        raise ConfigError(f"'{run}' has no such checkpoint", key="checkpoint", value=checkpoint, expected=steps)
    return folder, found[checkpoint]


def _appearing(run: RunFolder) -> Iterator[Path]:
    """Yield the checkpoints of a run as they are written, until the run has ended."""
    from ssl_core.checkpoint.store import CheckpointStore  # imports torch

    given: set[Path] = set()
    while True:
        over = run.read_summary().get("status") not in (None, "running")
        new = [path for path in CheckpointStore(run.checkpoints).all() if path not in given]
        for path in new:
            given.add(path)
            if path.exists():  # else it was pruned in the meantime
                yield path
        if over and not new:
            return
        if not new:
            time.sleep(POLL_SECONDS)


def _runs(pattern: str) -> list[str]:
    """Return the runs and checkpoints that match a pattern; other folders (a report) are left out."""
    return [each for each in sorted(glob.glob(pattern)) if each.endswith(".pt") or RunFolder(each).config.exists()]


def name_runs(arguments: Namespace) -> None:
    """Take a bare word as ``run=WORD``, and make all runs and checkpoints that are named a sweep over ``run``.

    Runs are quoted because Hydra interprets ``=`` and ``,`` in their names.

    Raises
    ------
    ConfigError
        For a run that does not exist.
    """
    runs: list[str] = []
    others: list[str] = []
    for each in arguments.overrides:
        # the name of a run may have = as well, but after a dash
        is_key = each.startswith("~") or (_KEY.match(each) and not Path(find_run(each)).exists())
        plain = each.lstrip("+")
        if plain.startswith("run="):
            runs.append(plain.removeprefix("run=").strip("'\""))
        else:
            (others if is_key else runs).append(each)
    if not runs:
        return
    for problem in filter(None, map(missing_run, runs)):
        raise ConfigError(f"run: {problem}")
    is_all = {each for each in others if each.lstrip("+") == "checkpoint=all"}
    every = bool(is_all) and not arguments.cfg
    targets: list[str] = []
    for run in map(find_run, runs):
        folders = _runs(run) if glob.has_magic(run) and not Path(run).exists() else [run]
        if not folders:
            raise ConfigError(f"run={run!r}: no run matches this pattern")
        for folder in folders:
            checkpoints = sorted(map(str, Path(folder).glob("checkpoints/step_*.pt")))
            if every and not checkpoints and len(folders) > 1:
                print(f"skipped: '{folder}' has no checkpoint", file=sys.stderr)
            targets += checkpoints if every else [folder]
    if not targets:
        raise ConfigError(f"checkpoint=all: '{runs[0]}' has no checkpoint")
    if every:
        others = [each for each in others if each not in is_all]
    if arguments.cfg:  # what the jobs have in common
        targets = targets[:1]
    arguments.multirun |= len(targets) > 1
    paths = ",".join(quoted(str(Path(target).absolute())) for target in targets)
    arguments.overrides = [*others, f"run={paths}"]
