"""The life of a run, from top to bottom: scroll once and you know the order of everything.

A researcher writes three methods (``initialize_modules``, ``forward``, ``compute_loss``) and overrides any other that is
in the way. Everything that is not control flow lives in small objects, listed at the top of the class.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.batch import to_device
from ssl_core.checkpoint.async_writer import CheckpointWriter
from ssl_core.checkpoint.export import export_backbone
from ssl_core.checkpoint.pretrained import find_weights, load_backbone
from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.config import Config, ModelConfig
from ssl_core.diagnostics.collapse import CollapseDetector
from ssl_core.diagnostics.nan_guard import NanGuard
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError, warn_on_error
from ssl_core.evaluation.final_report import write_report
from ssl_core.evaluation.online_metrics import OnlineMetrics, check_number_of_views, compares_views, names_of_evaluation
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_core.evaluation.reference_sample import ReferenceSample
from ssl_core.loggers.images import save_image
from ssl_core.loggers.metrics_logger import MetricsLogger, Sink
from ssl_core.loggers.profiler import Profiler
from ssl_core.loggers.progress_bar import ProgressBar
from ssl_core.loggers.throughput import Throughput
from ssl_core.modules.ema import Teacher
from ssl_core.optimizers import build_optimizer, keep_initial_rates, set_rates
from ssl_core.run.folder import RunFolder, config_hash, plain_config, resume_overridable_keys
from ssl_core.run.lock import RunLock
from ssl_core.run.processor import check_parallelism
from ssl_core.run.progress import Progress
from ssl_core.run.signals import StopSignal
from ssl_core.run.source_location import source_of
from ssl_core.run.summary import Summary
from ssl_core.schedules import Plan
from ssl_core.training.data_checks import check_loaders, checked_batches, training_batches
from ssl_core.training.data_protocol import Loaders
from ssl_core.training.data_record import record_data
from ssl_core.training.early_stopping import EarlyStopping
from ssl_core.training.freeze import Freeze
from ssl_core.training.loss_module import LossModule, total_loss
from ssl_core.training.method_checks import (
    check_forward,
    check_modules,
    check_optimizer,
    check_schedule,
    checked_step,
    explained_loss,
    representation_widths,
)
from ssl_core.training.precision import Precision, check_torch_state
from ssl_core.training.seeding import seed_everything, seed_step
from ssl_core.training.triggers import Triggers
from ssl_core.training.unsaved_state import UnsavedState
from ssl_losses import accumulate_updates
from ssl_losses.precision import widened

_message = logging.getLogger(__name__)


class BaseModel(nn.Module):
    """A method and its training run.

    Write ``initialize_modules``, ``forward`` and ``compute_loss``; call :meth:`fit`.

    Parameters
    ----------
    config : Config
        The five groups. ``config.model`` is an instance of the class's ``config_class``.

    Attributes
    ----------
    data : list
        The batch on the device. ``data[0]``: the input ``(N, C, H, W) float32``, or the list of V of them where there
        are several views; ``data[1]``: the labels ``(N,) int64``, -1 where there is none; ``data[2]``: the samples' ids.
    num_classes : int
        K of the training data.
    image_shape : tuple of int
        ``(C, H, W)`` of one view.

    Notes
    -----
    A module called ``backbone`` and one called ``projector`` each get an online linear probe; ``backbone`` is also what
    the kNN and the table at the end judge.
    """

    config_class: type[ModelConfig] = ModelConfig

    # What fit() works with, in the order in which it is made
    config: Config
    distributed: Distributed
    precision: Precision
    folder: RunFolder
    lock: RunLock
    checkpoints: CheckpointStore
    writer: CheckpointWriter
    progress: Progress
    stop: StopSignal
    early_stopping: EarlyStopping
    timetable: Triggers
    divergence: NanGuard
    collapse: CollapseDetector
    loaders: Loaders
    reference_sample: ReferenceSample
    plan: Plan
    logger: MetricsLogger
    throughput: Throughput
    timer: Profiler
    summary: Summary
    freeze: Freeze
    probes: OnlineProbes
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]  # optimizer step -> factor of the learning rate
    bar: ProgressBar

    # Modules that are known by name where a method has them
    backbone: Any
    projector: Any

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.data: list[Any] = []
        if config is None:  # fit and launch say what is missing
            return
        if not isinstance(config.model, self.config_class):
            raise ConfigError(
                f"model={type(config.model).__name__}(...): {type(self).__name__} expects a {self.config_class.__name__}"
            )
        self.config = config

    # ------------------------------------------------------------------------------------- what a researcher writes

    def initialize_modules(self) -> None:
        """Assign modules to ``self``. Called once, after seeding; ``num_classes`` and ``image_shape`` are known."""
        raise NotImplementedError(f"{type(self).__name__} must define initialize_modules(self): assign modules to self")

    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction for images ``(N, C, H, W)``, e.g. logits ``(N, K)``: the accuracy is computed from it."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x): return the prediction")

    def compute_loss(self) -> Tensor | dict[str, Tensor]:
        """Return the loss of ``self.data``: a scalar, or a dict of scalars by name.

        Each entry of a dict is logged; the loss is the sum of those that have a gradient. The names that the run logs itself
        (``ssl_core.training.method_checks.RESERVED_TERMS``) are not allowed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute_loss(self): return a scalar")

    # -------------------------------------------------------------------------------------------- the life of a run

    def fit(self) -> dict[str, float]:
        """Train, evaluate, keep everything in the run folder; go on where an earlier process of this run stopped.

        Returns
        -------
        dict
            The last value of every metric, as in ``summary.json``.

        Raises
        ------
        ConfigError, RunFolderError
            Before any data is opened.
        DivergedError, CheckpointError, Preempted
            The run cannot go on; ``summary.json`` says so.

        Notes
        -----
        A checkpoint is written before each evaluation. Any exception in training or in an evaluation ends the run as
        "failed"; after one in an evaluation the same command only evaluates. An exception in :meth:`write_report`, in
        :meth:`write_export` or in a sink is a warning: the run ends as "finished".
        """
        self.open_folder()
        with self.distributed:
            self.open_data()
            with self.lock:
                self.open_files()
                with self.logger, self.summary, self.stop, self.timer, self.distributed.explained():
                    self.initialize()
                    if not self.timetable.is_over:
                        self.summary.begin()
                    bar = ProgressBar.of(self.config, self.plan, self.progress, self.distributed)
                    with self.writer, bar as self.bar:
                        while not self.timetable.is_over:
                            if not self.progress.between_epochs:  # else an earlier process ended in the evaluation
                                self.train_epoch()
                                self.progress.end_epoch()
                                if self.timetable.checkpoint_due:  # first: an evaluation that fails costs no training
                                    self.save_checkpoint()
                            if self.timetable.evaluation_due:
                                self.eval_epoch()
                                self.early_stopping.observe(self.logger.last, self.progress.epoch)
                            self.progress.between_epochs = False
                            if self.timetable.is_over:
                                self.save_checkpoint()
                    if self.early_stopping.reason:
                        self.summary.note(stopped_early=self.early_stopping.reason)
                    if self.config.log.report:
                        with warn_on_error("the final report could not be written", "the run itself is finished"):
                            self.write_report()
                    if self.config.log.export:
                        with warn_on_error(
                            "the backbone could not be exported", "`ssl-core export FOLDER` tries again"
                        ):
                            self.write_export()
        reports = [*self.reports, *self.timer.reports]
        if self.distributed.is_main and reports:
            print(*reports, sep="\n", flush=True)
        return self.logger.last

    def open_folder(self) -> None:
        """Refuse what cannot be, make the objects that need no data, and refuse a folder that belongs to another run."""
        if not hasattr(self, "config"):
            name = type(self).__name__
            raise ConfigError(f"{name}() has no configuration: expected {name}(Config(...)).fit(), or launch({name})")
        check_torch_state()
        config, optim = self.config, self.config.optim
        config.check()
        if config.hardware.num_threads:
            check_parallelism("hardware.num_threads", config.hardware.num_threads)
            torch.set_num_threads(config.hardware.num_threads)
        self.folder = RunFolder.of(config)
        self.distributed = Distributed(config.hardware.device, self.folder.rendezvous, config.hardware.strategy)
        # What one rank says all would say; an error may be one rank's own
        logging.getLogger("ssl_core").setLevel(config.log.level.upper() if self.distributed.is_main else logging.ERROR)
        self.precision = Precision(config.hardware.precision, self.distributed.device)
        self.checkpoints = CheckpointStore(self.folder.checkpoints, config.log.keep_checkpoints, config_hash(config))
        self.writer = CheckpointWriter(self.checkpoints, config.log.checkpoint_in_background)
        self.progress = Progress(between_epochs=config.optim.epochs == 0)  # a run of no epochs only evaluates
        self.stop = StopSignal()
        self.early_stopping = EarlyStopping(optim.monitor, optim.patience, optim.min_delta, self.distributed)
        self.timetable = Triggers(config, self.progress, self.stop, self.early_stopping, self.distributed)
        seed, every_steps = config.hardware.seed, config.log.every_steps
        self.divergence = NanGuard(self.folder, self.checkpoints, self.progress, self.distributed, seed, every_steps)
        self.collapse = CollapseDetector(self.distributed)
        self.reports: list[str] = []
        self.lock = RunLock(self.folder.lock, takes=self.distributed.is_main)
        self.folder.check_same_config(plain_config(config), resume_overridable_keys(config))
        if config.model.init_from and not self.checkpoints.all():
            find_weights(config.model.init_from)

    def open_data(self) -> None:
        """Ask the data for its loaders, and derive the plan of the run."""
        config, ranks = self.config, self.distributed
        with ranks.main_first():
            self.loaders = config.data.open(config.optim.batch_size, config.hardware.seed, ranks.rank, ranks.world_size)
        check_loaders(self.loaders)
        check_number_of_views(self.loaders.train, config.log.label_free)
        self.num_classes, self.image_shape = self.loaders.num_classes, self.loaders.image_shape
        self.reference_sample = ReferenceSample(
            self.loaders.reference, self.num_classes, config.log.knn_samples, config.hardware.seed, ranks
        )
        self.plan = Plan.of(
            num_batches=len(self.loaders.train),
            epochs=config.optim.epochs,
            max_steps=config.optim.max_steps,
            accumulation_steps=config.optim.accumulation_steps,
            warmup_epochs=config.optim.warmup_epochs,
        )

    def open_files(self, writes: bool = True) -> None:
        """Make the folder, now that it is locked, and what writes into it (in a replay: nothing does)."""
        config, ranks = self.config, self.distributed
        self.checkpoints.data = record_data(self.loaders, self.folder, self.checkpoints, ranks)
        writes = writes and ranks.is_main
        if writes:
            plain = plain_config(config)
            self.folder.check_same_config(
                plain, resume_overridable_keys(config)
            )  # another run may have begun while the data was opened
            self.folder.create(plain)
        self.logger = MetricsLogger(self.folder.metrics, self.make_sinks() if writes else [], writes=writes)
        facts = {
            "seed": config.hardware.seed,
            "device": str(ranks.device),
            "precision": self.precision.name,
            "ranks": ranks.world_size,
            "threads": torch.get_num_threads(),
            "method": source_of(type(self)),
            "data": source_of(type(config.data)),
            "image_shape": list(self.image_shape),
            "datasets": self.checkpoints.data,
            **{name: list(getattr(self.loaders, name)) for name in ("mean", "std") if hasattr(self.loaders, name)},
        }
        self.throughput = Throughput()
        size = f"{config.optim.batch_size} images, {ranks.device}, {self.precision.name}"
        self.timer = Profiler(self.folder, config.hardware.profile if writes else 0, ranks.device, size)
        self.summary = Summary(self.folder, self.logger, self.progress, self.throughput, facts, writes=writes)

    def make_sinks(self) -> list[Sink]:
        """Return the sinks beside ``metrics.jsonl``: wandb and TensorBoard, as ``log`` says. Called on the main rank only.

        Override it to add one: ``return [*super().make_sinks(), MySink()]``. A sink has ``log(step, values)`` and ``close()``,
        and ``log_image(step, name, path)`` if it shows images.
        """
        sinks: list[Sink] = []
        if self.config.log.wandb != "off":
            from ssl_core.loggers.wandb.sink import WandbSink

            sinks.append(WandbSink(self.folder, self.config.log))
        if self.config.log.tensorboard:
            from ssl_core.loggers.tensorboard import TensorBoardSink

            sinks.append(TensorBoardSink(self.folder))
        return sinks

    # -- 1. INITIALIZATION

    def initialize(self) -> None:
        """Build the model, then make probes, optimizer and schedule, then take over the newest checkpoint."""
        self.build()
        self.initialize_weights()
        self.distributed.synchronise_batchnorm(self, self.config.hardware.sync_batchnorm)
        self.freeze = Freeze(self.config.optim.freeze)
        self.freeze.begin(self)
        self.initialize_probes()
        check_forward(self)
        if self.config.optim.monitor is not None:
            self.early_stopping.check(self.metric_names())
        self.distributed.shard(self)
        self._loss = (self.distributed.wrap(LossModule.of(self)),)  # in a tuple: not a submodule of itself
        self.initialize_optimizer()
        check_optimizer(self)
        keep_initial_rates(self.optimizer)  # now, so that a checkpoint's groups have the same keys
        self.initialize_scheduler()
        check_schedule(self)
        self.load_checkpoint()
        self._teachers = [module for module in self.modules() if isinstance(module, Teacher)]
        self.unsaved_state = UnsavedState(self)

    def build(self) -> None:
        """Seed, make the modules, put them where they compute: the model before anything is loaded or learned."""
        self.seed_everything()
        self.initialize_modules()
        check_modules(self)
        self.precision.place(self)

    def seed_everything(self) -> None:
        """Seed Python, numpy (where it is loaded) and torch with ``hardware.seed``."""
        seed_everything(self.config.hardware.seed)

    def initialize_weights(self) -> None:
        """Take the backbone's weights from ``model.init_from``, and let teachers follow; not where a run goes on."""
        source = self.config.model.init_from
        if self.config.log.export and not hasattr(self, "backbone"):
            raise ConfigError(f"log.export=true: {type(self).__name__} has no module called backbone to be written")
        if not source or self.checkpoints.all():
            return
        self.summary.note(init_from=load_backbone(getattr(self, "backbone", None), source))
        for module in self.modules():
            if isinstance(module, Teacher):
                module.restart()

    def initialize_probes(self) -> None:
        """Make an online linear probe for each representation that :meth:`encode` gives."""
        widths = representation_widths(self)
        place = self.distributed.device, self.precision.dtype
        self.probes = OnlineProbes(widths, self.num_classes, self.config.optim.probe_lr, *place)
        for name in widths:
            module = getattr(self, name, None)
            if isinstance(module, nn.Module):
                self.probes.watch(name, module)

    def metric_names(self) -> set[str]:
        """Return the names that ``optim.monitor`` may have, known before training; override it where you log more metrics.

        The terms of a loss, ``train/<term>``, need not be among them.
        """
        config, prediction = self.config, check_forward(self)
        names = names_of_evaluation(
            representation_widths(self), prediction, self.num_classes, config.log.knn_samples > 0, config.log.label_free
        )
        return {"train/loss", *(f"{dataset}/{name}" for dataset in self.loaders.evaluation for name in names)}

    def initialize_optimizer(self) -> None:
        """Make ``self.optimizer`` for all parameters that want a gradient."""
        optim = self.config.optim
        self.optimizer = build_optimizer(
            self, optim.optimizer, optim.lr, optim.weight_decay, optim.momentum, optim.layer_decay
        )

    def initialize_scheduler(self) -> None:
        """Make ``self.schedule``, a pure function: optimizer step -> factor of the learning rate."""
        self.schedule = self.plan.schedule(self.config.optim.schedule)

    def decay_schedule(self, step: int) -> float:
        """Return the factor of the weight decay at an optimizer step, a pure function of it."""
        optim = self.config.optim
        return self.plan.weight_decay_factor(step, optim.weight_decay, optim.weight_decay_end)

    # -- 2. TRAIN

    def before_train_epoch(self) -> None:
        """Called before the first batch of an epoch (or the first after a resume). Does nothing."""

    def after_train_epoch(self) -> None:
        """Called after the last batch of an epoch. Does nothing."""

    def train_epoch(self) -> None:
        """One pass over the training data, from batch ``progress.batch`` on."""
        self.before_train_epoch()
        self.train()
        self.freeze.set_mode(self.progress.epoch)
        self.probes.forget()  # features of an evaluation that was overridden without torch.no_grad()
        self.throughput.restart()
        self.loaders.train.start(self.progress.epoch, self.progress.batch)
        batches = training_batches(self.loaders.train, self.num_classes)
        while self.progress.batch < self.plan.batches_per_epoch:
            self.timer.begin("data")
            self.data = to_device(next(batches), self.distributed.device, self.precision.dtype)
            self.timer.begin("other")
            self.seed_step()
            self.before_train_step()
            self.weights_moved = checked_step(self, self.progress.step, self.train_step(self.data))
            self.timer.begin("other")
            if self.weights_moved:
                self.update_teachers()
            self.after_train_step()
            if self.weights_moved:
                self.unsaved_state.check(self)  # once, after the first optimizer step
            self.progress.batch += 1
            self.bar.advance()
            self.timer.end_batch()
            self.writer.raise_if_failed()
            if self.weights_moved and self.timetable.checkpoint_due_in_epoch:
                self.save_checkpoint()
                self.timetable.raise_if_stopped()
        self.after_train_epoch()

    def seed_step(self) -> None:
        """Seed what is random in a training batch by (seed, epoch, batch, rank): a resumed run draws the same numbers."""
        seed_step(self.config.hardware.seed, self.progress.epoch, self.progress.batch, self.distributed.rank)

    def before_train_step(self) -> None:
        """Called before each batch, ``self.data`` is set. Does nothing."""

    def train_step(self, batch: list[Any]) -> bool:
        """Loss and gradients of one batch; after the last batch of an accumulation also the optimizer's step.

        Returns
        -------
        bool
            Whether the weights moved.
        """
        last, divisor = self.plan.accumulation(self.progress.batch)
        self.timer.begin("forward")
        with explained_loss(self):
            terms = self.compute_gradients(last, divisor)
        self.timer.begin("probes")
        probe_losses = self.probes.train_step(self.data[1], self.distributed)
        self.throughput.add(len(batch[1]) * self.distributed.world_size)
        if not last:
            return False
        self.distributed.check_all_used(self)
        self.timer.begin("optimizer")
        set_rates(self.optimizer, self.schedule(self.progress.step), self.decay_schedule(self.progress.step))
        self.freeze.cancel_gradients(self.progress.epoch)
        norm = self.precision.gradient_norm(self.optimizer)
        if not self.precision.skips_overflows:
            self.divergence.check_gradients(norm, self.named_parameters())
        self.precision.clip(self.optimizer, norm, self.config.optim.grad_max_norm)
        if not self.precision.step(self.optimizer):
            return False
        self.progress.step += 1
        self.timer.begin("logging")
        if self.timetable.log_due(self.progress.batch + 1 == self.plan.batches_per_epoch):
            self.log_step(terms, probe_losses, norm)
        return True

    def compute_gradients(self, last: bool, divisor: int) -> dict[str, Tensor]:
        """Add to the gradients what the batch of ``self.data`` contributes to them; return the terms of its loss.

        The losses of the batches of an optimizer step are averaged: right for a loss that is itself a mean over samples. The
        state of a loss (a centre, a queue) moves once per optimizer step, as with one large batch. A loss that compares the
        samples of a batch would compare fewer: :class:`~ssl_core.methods.joint_embedding.JointEmbedding` overrides this.

        Parameters
        ----------
        last : bool
            Whether the optimizer steps after this batch; gradients are averaged over the ranks only then.
        divisor : int
            Batches of this optimizer step.
        """
        with self.distributed.synchronised(self._loss[0], when=last):
            with self.precision.autocast(), accumulate_updates(self, last) if divisor > 1 else nullcontext():
                terms = self._loss[0]()
            self.divergence.check_loss(terms, self.data[2])
            self.timer.begin("backward")
            self.precision.backward(total_loss(terms) / divisor if divisor > 1 else total_loss(terms))
        return terms

    def update_teachers(self) -> None:
        """Move every :class:`~ssl_core.Teacher` among the modules towards its student, after an optimizer step."""
        for teacher in self._teachers:
            teacher.follow(self.progress.step, self.plan.total_steps)

    def after_train_step(self) -> None:
        """Called after each batch; ``self.weights_moved``: whether the optimizer has stepped. Does nothing."""

    def log_step(self, terms: dict[str, Tensor], probe_losses: dict[str, Tensor], norm: Tensor) -> None:
        """Write one line of ``train/...`` metrics, means over the ranks. The only place that waits for the device."""
        values = {"train/loss": total_loss(terms).detach(), "train/grad_norm": norm}
        if len(terms) > 1:
            values |= {f"train/{name}": term.detach() for name, term in terms.items()}
        values |= {f"train/probe_{name}_loss": value for name, value in probe_losses.items()}
        means = self.distributed.mean(torch.stack([value.double() for value in values.values()])).tolist()
        line = dict(zip(values, means)) | {"train/lr": self.optimizer.param_groups[0]["lr"]}
        if self.config.optim.weight_decay_end is not None:
            line["train/weight_decay"] = max(group["weight_decay"] for group in self.optimizer.param_groups)
        line["train/images_per_second"] = self.throughput.rate()
        self.early_stopping.check(line, logged=True)
        self.logger.log(self.progress.step, self.progress.epoch, line)
        self.bar.show(self.progress.epoch, line["train/loss"])

    # -- 2. EVAL

    def before_eval_epoch(self) -> None:
        """Called before an evaluation. Does nothing."""

    def after_eval_epoch(self) -> None:
        """Called after an evaluation. Does nothing."""

    def before_eval_step(self) -> None:
        """Called before each evaluation batch, ``self.data`` is there. Does nothing."""

    def after_eval_step(self) -> None:
        """Called after each evaluation batch. Does nothing."""

    @torch.no_grad()
    def eval_epoch(self) -> dict[str, float]:
        """Evaluate on every evaluation set; log and return ``<dataset>/accuracy``, ``/knn``, ``/probe_<name>``, and more."""
        self.before_eval_epoch()
        self.divergence.check_weights(self.named_parameters())
        self.eval()
        self.distributed.share_buffers(self)
        self.evaluation = OnlineMetrics(self.num_classes, self.probes, self.distributed, self.config.log.label_free)
        if self.config.log.knn_samples and self.num_classes > 1:
            self.evaluation.fill_bank(self.reference_sample.batches(self.stop_aware), self.features)
        if compares_views(self.config.log.label_free):
            self.evaluation.fill_views(self.stop_aware(self.loaders.train.start(0, 0)), self.features)
        values: dict[str, float] = {}
        for name, loader in self.loaders.evaluation.items():
            for batch in self.stop_aware(checked_batches(loader, name, self.num_classes, True)):
                self.data = to_device(batch, self.distributed.device, self.precision.dtype)
                self.before_eval_step()
                self.eval_step(self.data)
                self.after_eval_step()
            found = self.evaluation.compute() | self.collapse.compute()
            values |= {f"{name}/{metric}": value for metric, value in found.items()}
        self.after_eval_epoch()
        if values:
            self.logger.log(self.progress.step, self.progress.epoch, values)
            _message.info("epoch %d: %s", self.progress.epoch, ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
        return values

    def eval_step(self, batch: list[Any]) -> None:
        """Add one batch to the metrics: the output of ``forward`` against ``batch[1]``, and the representations."""
        with self.precision.autocast():
            prediction, representations = self.forward(batch[0]), self.encode(batch[0])
        self.divergence.check_outputs({"prediction": prediction, **representations})
        self.evaluation.add(prediction, representations, batch[1])  # in float32
        self.collapse.add(representations)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Return the representations that are judged: ``{"backbone": (N, D), "projector": (N, E)}``.

        The default uses the modules of these names; a model without a backbone is judged by what ``forward`` gives.
        """
        if not hasattr(self, "backbone"):
            return {"output": self.forward(x).flatten(1)}
        features = self.backbone(x).flatten(1)
        if not hasattr(self, "projector"):
            return {"backbone": features}
        return {"backbone": features, "projector": self.projector(features)}

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return the first representation of :meth:`encode`, ``(N, D)``, float32 at least: what kNN and the table use."""
        with self.precision.autocast():
            return widened(list(self.encode(x.to(self.distributed.device, self.precision.dtype)).values()))[0]

    # -- what is kept

    def stop_aware(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Give the batches of an evaluation. When a signal arrives, save: the evaluation is done anew by who goes on."""
        for batch in loader:
            if self.timetable.stop_requested:
                self.save_checkpoint()
                self.timetable.raise_if_stopped()
            yield batch

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by its name in a checkpoint. What is missing is a function of the progress."""
        return {
            "progress": self.progress,
            "ranks": self.distributed,
            "model": self,
            "optimizer": self.optimizer,
            "probes": self.probes,
            "precision": self.precision,
            "early_stopping": self.early_stopping,
            "collapse": self.collapse,
            "logger": self.logger,
        }

    def save_checkpoint(self) -> None:
        """Keep the state of all :meth:`parts` on the disk, atomically. Main rank only."""
        self.divergence.check_weights(self.named_parameters())
        state = self.distributed.state_of(self.parts())
        if self.distributed.is_main:
            self.writer.save(self.progress.step, state)
            self.summary.write("running")
        self.timetable.saved()

    def load_checkpoint(self) -> None:
        """Take the newest whole checkpoint of the run folder over; without any, begin at the beginning."""
        form = {name: part.state_dict() for name, part in self.parts().items()}
        found = self.checkpoints.load(self.distributed.device, expected=form)
        self.distributed.check_equal("the newest whole checkpoint", found and found[1].name)
        if found is None:
            self.logger.load_state_dict({"bytes": 0, "line": {}, "last": {}})
            return
        state, path, damaged = found
        for problem in damaged:
            _message.warning("a damaged checkpoint is passed over: %s", problem)
        state = self.distributed.sharded_state(state, self, self.optimizer)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        _message.info("resumed from %s: epoch %d, step %d", path, self.progress.epoch, self.progress.step)

    def log_image(self, name: str, image: Any) -> None:
        """Save an image as ``<run>/images/<name>/step_<n>.png`` and show it in wandb and TensorBoard.

        Call it from any hook, also on all ranks: only the main one saves. In a replay it does nothing. It waits for the
        device, so call it every few hundred steps, not at each.

        Parameters
        ----------
        name : str
            For example ``"views"`` or ``"eval/reconstruction"``.
        image : Tensor, array or matplotlib figure
            ``(C, H, W)``, ``(H, W, C)`` or ``(H, W)``, C = 1, 3 or 4: ``uint8``, or floating point in [0, 1].

        Raises
        ------
        ValueError
            For another shape or dtype, or a name that is not a relative path.
        """
        logger = getattr(self, "logger", None)  # there is none outside of fit()
        if logger is not None and logger.writes:
            path = save_image(self.folder, self.progress.step, name, image)
            logger.log_image(self.progress.step, name, path)

    def write_report(self) -> None:
        """Write the table (kNN and linear probes, trained and untrained) and the figure of the run."""
        self.reports = write_report(self)

    def write_export(self) -> None:
        """Write the backbone of the last checkpoint as ``backbone.safetensors``. Main rank only."""
        if self.distributed.is_main:
            self.reports.append(str(export_backbone(self.folder.path)))
