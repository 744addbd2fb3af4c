"""The mechanism of one run: everything that the training loop needs besides the model.

A :class:`RunSession` owns the ranks, the run folder and its lock, the checkpoints, the metrics, the signals and the progress
bar. It answers questions (``session.triggers.evaluation_due``) and never calls a method of the model.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.checkpoint.async_writer import CheckpointWriter
from ssl_core.checkpoint.pretrained import find_weights, load_backbone
from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.config import Config
from ssl_core.diagnostics.collapse import CollapseDetector
from ssl_core.diagnostics.nan_guard import NanGuard
from ssl_core.distributed.ranks import Distributed
from ssl_core.evaluation.features import Features
from ssl_core.evaluation.online_metrics import OnlineMetrics, check_number_of_views, names_of_evaluation
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_core.evaluation.run_result import RunResult
from ssl_core.loggers.metrics_logger import MetricsLogger, Sink
from ssl_core.loggers.profiler import Profiler
from ssl_core.loggers.progress_bar import ProgressBar
from ssl_core.loggers.throughput import Throughput
from ssl_core.modules.ema import teachers_of
from ssl_core.run.environment import check_parallelism
from ssl_core.run.folder import RunFolder, config_hash, plain_config, resume_overridable_keys
from ssl_core.run.lock import RunLock
from ssl_core.run.progress import Progress
from ssl_core.run.signals import StopSignal
from ssl_core.run.source_location import source_of
from ssl_core.run.summary import Summary
from ssl_core.training.checks.unsaved_state import UnsavedState
from ssl_core.training.data.batches import Batches
from ssl_core.training.data.checks import check_loaders
from ssl_core.training.data.protocol import Loaders
from ssl_core.training.data.record import record_data
from ssl_core.training.data.reference_sample import ReferenceSample
from ssl_core.training.early_stopping import EarlyStopping
from ssl_core.training.freeze import Freeze
from ssl_core.training.precision import Precision
from ssl_core.training.process import check_torch_state, process_settings
from ssl_core.training.run_log import RunLog
from ssl_core.training.step_plan import StepPlan
from ssl_core.training.triggers import Triggers

_message = logging.getLogger(__name__)


class RunSession:
    """A run in progress.

    As a context manager it opens the ranks and the data; :meth:`begin` then locks and creates the run folder. On exit
    everything is closed in reverse order, and ``summary.json`` gets the final status.

    Parameters
    ----------
    config : Config
        The configuration. It is validated here, before any data is opened.
    writes : bool
        False to read a run (replay, feature extraction): nothing is locked, created or written.
    device : str, optional
        Overrides ``hardware.device``, which may name the device of another machine.

    Raises
    ------
    ConfigError, RunFolderError
        For an invalid configuration, or a run folder that holds another run.
    """

    # Available inside `with`
    loaders: Loaders
    reference_sample: ReferenceSample
    plan: StepPlan  # batches and optimizer steps of the run
    num_classes: int
    image_shape: tuple[int, int, int]
    # Available after begin()
    metrics: MetricsLogger
    throughput: Throughput
    log: RunLog
    profiler: Profiler
    summary: Summary
    writer: CheckpointWriter
    bar: ProgressBar
    batches: Batches
    # Set by the training loop
    widths: dict[str, int]  # name of a representation -> its width D
    metric_names: set[str]  # that optim.monitor may have
    loss: Any  # the loss module, compiled and wrapped for the ranks
    online_metrics: OnlineMetrics  # of the evaluation in progress
    stop_aware: Callable[[Iterable[Any]], Iterator[Any]]  # passes batches on; on a signal saves and raises
    weights_moved = False  # whether the last batch ended with an optimizer step

    def __init__(self, config: Config, writes: bool = True, device: str | None = None) -> None:
        check_torch_state()
        config.check()
        optim, hardware, log = config.optim, config.hardware, config.log
        self.config, self.writes = config, writes
        if hardware.num_threads:
            check_parallelism("hardware.num_threads", hardware.num_threads)
        self.folder = RunFolder.of(config)
        self.distributed = ranks = Distributed(device or hardware.device, self.folder.rendezvous, hardware.strategy)
        self.precision = Precision(hardware.precision, ranks.device)
        self.checkpoints = CheckpointStore(self.folder.checkpoints, log.keep_checkpoints, config_hash(config))
        self.progress = Progress(between_epochs=optim.epochs == 0)  # epochs=0: evaluation only
        self.stop = StopSignal()
        self.early_stopping = EarlyStopping(optim.monitor, optim.patience, optim.min_delta, ranks)
        self.triggers = Triggers(config, self.progress, self.stop, self.early_stopping, ranks)
        self.nan_guard = NanGuard(self.folder, self.checkpoints, self.progress, ranks, hardware.seed, log.every_steps)
        self.collapse = CollapseDetector(ranks)
        self.lock = RunLock(self.folder.lock, takes=ranks.is_main)
        self.freeze = Freeze(optim.freeze)
        self.unsaved_state = UnsavedState()
        self.group_schedules: dict[int, Callable[[int], float]] = {}  # parameter groups with their own lr_schedule
        if writes:
            self.folder.check_same_config(plain_config(config), resume_overridable_keys(config))
            if config.model.init_from and not self.checkpoints.all():
                find_weights(config.model.init_from)

    def __enter__(self) -> "RunSession":
        with contextlib.ExitStack() as contexts:
            hardware, log = self.config.hardware, self.config.log
            contexts.enter_context(process_settings(hardware.num_threads, log.level, self.distributed.is_main))
            contexts.enter_context(self.distributed)
            self._open_data()
            self._contexts = contexts.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._contexts.__exit__(*error)

    def _open_data(self) -> None:
        config, ranks = self.config, self.distributed
        with ranks.main_first():
            self.loaders = config.data.open(config.optim.batch_size, config.hardware.seed, ranks.rank, ranks.world_size)
        check_loaders(self.loaders)
        self.num_classes, self.image_shape = self.loaders.num_classes, self.loaders.image_shape
        check_number_of_views(self.loaders.train, config.log.label_free)
        self.reference_sample = ReferenceSample(
            self.loaders.reference, self.loaders.num_classes, config.log.knn_samples, config.hardware.seed, ranks
        )
        self.plan = StepPlan.of(len(self.loaders.train), config.optim)

    def begin(self, method: type, make_sinks: Callable[[], list[Sink]] = list) -> None:
        """Lock and create the run folder, then open metrics, summary, signals, profiler and checkpoint writer.

        ``method`` is the class that is trained, for ``summary.json``. ``make_sinks`` is called on rank 0 only.

        Raises
        ------
        RunFolderError
            If another process works in the folder, or it holds another run.
        """
        config, ranks = self.config, self.distributed
        self.checkpoints.data = record_data(self.loaders, self.folder, self.checkpoints, ranks)
        writes = self.writes and ranks.is_main
        if self.writes:
            self._contexts.enter_context(self.lock)
        if writes:
            plain = plain_config(config)
            self.folder.check_same_config(plain, resume_overridable_keys(config))  # again: it was unlocked before
            self.folder.create(plain)
        self.metrics = MetricsLogger(self.folder.metrics, [], writes=writes)
        self.throughput = Throughput()
        size = f"{config.optim.batch_size} images, {ranks.device}, {self.precision.name}"
        self.profiler = Profiler(self.folder, config.hardware.profile if writes else 0, ranks.device, size)
        self.batches = Batches(
            loaders=self.loaders, plan=self.plan, progress=self.progress, distributed=ranks, dtype=self.precision.dtype,
            seed=config.hardware.seed, crops=getattr(method, "needs_crops", False), begin_phase=self.profiler.begin,
        )  # fmt: skip
        last, rate = (lambda: self.metrics.last), (lambda: self.throughput.mean)
        self.summary = Summary(self.folder, self.progress, last, rate, self._facts(method), writes)
        self.writer = CheckpointWriter(self.checkpoints, config.log.checkpoint_in_background)
        batches = config.optim.epochs * self.plan.batches_per_epoch
        self.bar = ProgressBar(batches, config.optim.batch_size, config.log.progress and ranks.is_main)
        self.log = RunLog(
            folder=self.folder, metrics=self.metrics, throughput=self.throughput, bar=self.bar, progress=self.progress,
            early_stopping=self.early_stopping, collapse=self.collapse, distributed=ranks,
            logs_weight_decay=config.optim.weight_decay_end is not None,
        )  # fmt: skip
        if self.writes:
            for part in (self.metrics, self.summary, self.stop, self.profiler, ranks.explained(), self.writer):
                self._contexts.enter_context(part)
        self._contexts.enter_context(self.bar)
        if ranks.is_main:
            self.metrics.sinks += make_sinks()

    def end(self, method: type) -> RunResult:
        """Record why the run has stopped early, if it has; return the last value of every metric."""
        if self.early_stopping.reason:
            self.summary.note(stopped_early=self.early_stopping.reason)
        return RunResult(self.metrics.last, self.folder, method, self.config)

    def begin_evaluation(self, probes: OnlineProbes, features: Features, save: Callable[[], None]) -> None:
        """Create the metrics of an evaluation, and extract the features that it compares with.

        ``save`` writes a checkpoint when a signal stops the evaluation.
        """
        log = self.config.log
        self.stop_aware = partial(self.triggers.stop_aware, save=save)
        self.online_metrics = OnlineMetrics(self.num_classes, probes, self.distributed, self.collapse, log.label_free)
        reference = self.reference_sample if log.knn_samples else None
        self.online_metrics.fill(reference, self.loaders.train, features, self.stop_aware)

    def end_batch(self) -> None:
        """Advance progress bar and profiler; raise if a background checkpoint has failed."""
        self.bar.advance()
        self.profiler.end_batch()
        self.writer.raise_if_failed()

    def set_metric_names(self, prediction: Tensor) -> None:
        """Set the names of the metrics that are known before training, from an output of ``forward``."""
        log = self.config.log
        names = names_of_evaluation(self.widths, prediction, self.num_classes, log.knn_samples > 0, log.label_free)
        self.metric_names = {"train/loss"} | {
            f"{dataset}/{name}" for dataset in self.loaders.evaluation for name in names
        }

    def log_image(self, name: str, image: Any) -> None:
        """Save an image and show it in the sinks. Does nothing before :meth:`begin`."""
        if hasattr(self, "log"):
            self.log.image(name, image)

    def _facts(self, method: type) -> dict[str, Any]:
        """Return what ``summary.json`` records at the start of the run."""
        return {
            "seed": self.config.hardware.seed,
            "device": str(self.distributed.device),
            "precision": self.precision.name,
            "ranks": self.distributed.world_size,
            "threads": torch.get_num_threads(),
            "method": source_of(method),
            "data": source_of(type(self.config.data)),
            "num_classes": self.num_classes,
            "image_shape": list(self.image_shape),
            "datasets": self.checkpoints.data,
            **{name: list(getattr(self.loaders, name)) for name in ("mean", "std") if hasattr(self.loaders, name)},
        }

    def load_pretrained(self, model: nn.Module) -> None:
        """Load ``model.init_from`` into the backbone, and copy it to the teachers, unless the run resumes."""
        source = self.config.model.init_from
        if source and not self.checkpoints.all():
            self.summary.note(init_from=load_backbone(getattr(model, "backbone", None), source))
            for teacher in teachers_of(model):
                teacher.restart()

    def parts(self) -> dict[str, Any]:
        """Return the objects of the session that have a state, by name."""
        return {
            "progress": self.progress,
            "ranks": self.distributed,
            "precision": self.precision,
            "early_stopping": self.early_stopping,
            "collapse": self.collapse,
            "logger": self.metrics,
        }

    def save(self, parts: Mapping[str, Any]) -> None:
        """Write a checkpoint of the state of all parts, atomically, on rank 0. The weights have to be finite."""
        self.nan_guard.check_weights(parts["model"].named_parameters())
        if not self.writes:
            return
        state = self.distributed.state_of(parts)
        if self.distributed.is_main:
            self.writer.save(self.progress.step, state)
            self.summary.write("running")
        self.triggers.saved()

    def load(self, parts: Mapping[str, Any]) -> bool:
        """Load the newest intact checkpoint into the parts; return False where the run has no checkpoint.

        Raises
        ------
        CheckpointError
            If the run has checkpoints and none of them is intact.
        """
        form = {name: part.state_dict() for name, part in parts.items()}
        found = self.checkpoints.load(self.distributed.device, expected=form)
        self.distributed.check_equal("the newest whole checkpoint", found and found[1].name)
        if found is None:
            self.metrics.load_state_dict({"bytes": 0, "line": {}, "last": {}})
            return False
        state, path, damaged = found
        for problem in damaged:
            _message.warning("skipped a damaged checkpoint: %s", problem)
        state = self.distributed.sharded_state(state, parts["model"], parts["optimizer"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self.bar.resume(self.progress.epoch * self.plan.batches_per_epoch + self.progress.batch)
        _message.info("resumed from %s: epoch %d, step %d", path, self.progress.epoch, self.progress.step)
        return True
