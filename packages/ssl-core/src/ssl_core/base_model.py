"""The training loop. Methods appear in the order in which they are called.

A method is a subclass with three functions (``initialize_modules``, ``forward``, ``compute_loss``); every other function can
be overridden. The mechanism is in :class:`~ssl_core.training.session.RunSession`.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.batch import Batch
from ssl_core.config import Config, ModelConfig
from ssl_core.evaluation.features import extract, representations
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_core.evaluation.run_result import RunResult
from ssl_core.loggers.sinks import Sink, configured_sinks
from ssl_core.modules.ema import teachers_of, warn_if_slow
from ssl_core.optimizers import build_optimizer, check_parameter_groups, group_schedules
from ssl_core.run.progress import Progress
from ssl_core.schedules import keep_initial_rates, set_rates
from ssl_core.training.checks import method as check
from ssl_core.training.loss_module import LossModule, total_loss
from ssl_core.training.seeding import seed_everything
from ssl_core.training.session import RunSession
from ssl_core.training.trained_run import load_trained_model
from ssl_losses import accumulate_updates
from ssl_losses.precision import widen


class BaseModel(nn.Module):
    """A self-supervised method and its training run.

    A module called ``backbone`` and one called ``projector`` each get an online linear probe. ``backbone`` is also what kNN
    and the final table evaluate. In ``config``, the group ``model`` is an instance of ``config_class``.
    """

    config_class: type[ModelConfig] = ModelConfig  #: dataclass of the group ``model``
    needs_crops = False  #: whether the training batches have the crops of their views: self.data is a CroppedBatch

    config: Config  #: configuration of the run
    run: RunSession  #: ranks, precision, run folder, loaders, metrics: everything that is not the model
    progress: Progress  #: counters: epoch, batch, step
    data: Batch  #: on the device: V views (N, C, H, W) float, labels (N,) int64 with -1 for none, sample ids (N,) int64
    num_classes: int  #: K of the training data
    image_shape: tuple[int, int, int]  #: (C, H, W) of one view
    optimizer: torch.optim.Optimizer  #: updates the parameters after each accumulation of batches
    schedule: Callable[[int], float]  #: optimizer step -> factor of the learning rate
    probes: OnlineProbes  #: online linear probes of the representations

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        if config is not None:  # else fit and launch report that it is missing
            check.check_config_class(self, config)
            self.config = config

    def __setattr__(self, name: str, value: Any) -> None:
        check.check_name(self, BaseModel, name, value)
        super().__setattr__(name, value)

    # ----------------------------------------------------------------------------------- the three functions to write

    def initialize_modules(self) -> None:
        """Assign modules to ``self``. Called once after seeding; ``num_classes`` and ``image_shape`` are known."""
        raise NotImplementedError(f"{type(self).__name__} must define initialize_modules(self): assign modules to self")

    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction for images ``(N, C, H, W)``, e.g. logits ``(N, K)``. Accuracy is computed from it."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x): return the prediction")

    def compute_loss(self) -> Tensor | dict[str, Tensor]:
        """Return the loss of ``self.data``: a scalar, or a dict of scalars by name.

        Each entry of a dict is logged; the loss is the sum of those that have a gradient.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute_loss(self): return a scalar")

    # ------------------------------------------------------------------------------------------------------- the run

    def fit(self) -> RunResult:
        """Train and evaluate; resume if the run folder has a checkpoint. Return the last value of every metric.

        A ConfigError or a RunFolderError is raised before data is opened. After a DivergedError, CheckpointError or Preempted,
        ``summary.json`` has the reason. In a notebook the result is shown as the final table and the learning curves.
        """
        check.check_configured(self)
        session = RunSession(self.config)
        self.check_config(self.config)
        with session as run:
            return self.fit_in(run)

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Raise a ConfigError if the method cannot be trained with a valid configuration. Called before any data is opened."""

    def fit_in(self, run: RunSession) -> RunResult:
        """Train and evaluate in an open session, as :meth:`fit` does."""
        self.use(run)
        self.before_run()
        run.begin(type(self), self.make_sinks)
        self.initialize()
        if not run.triggers.is_over:
            run.summary.begin()
        while not run.triggers.is_over:
            if not self.progress.between_epochs:  # else an earlier process ended in the evaluation
                self.train_epoch()
                self.progress.end_epoch()
                if run.triggers.checkpoint_due:  # first: an evaluation that fails costs no training
                    self.save_checkpoint()
            if run.triggers.evaluation_due:
                self.eval_epoch()
                run.early_stopping.observe(run.metrics.last, self.progress.epoch)
            self.progress.between_epochs = False
            if run.triggers.is_over:
                self.save_checkpoint()
        return run.end(type(self))

    @classmethod
    def from_run(
        cls, folder: str | Path, checkpoint: str | int = "newest", data: Any = None, device: str = "auto"
    ) -> "BaseModel":
        """Return the trained model of a run, in evaluation mode, from its folder alone.

        ``BaseModel.from_run`` finds the class of the run, also a user-defined one; ``MyIdea.from_run`` uses ``MyIdea``. For
        ``checkpoint``, ``data`` and ``device`` see :func:`~ssl_core.training.trained_run.load_trained_model`.
        """
        return load_trained_model(None if cls is BaseModel else cls, folder, checkpoint, data, device)

    def use(self, run: RunSession) -> None:
        """Attach a session that knows the data: the number of classes and the shape of an image."""
        self.run, self.progress = run, run.progress
        self.num_classes, self.image_shape = run.num_classes, run.image_shape

    def before_run(self) -> None:
        """Called when the data is open and nothing has been written. Does nothing."""

    def make_sinks(self) -> list[Sink]:
        """Return the sinks of the metrics, on rank 0. To add one: ``return [*super().make_sinks(), MySink()]``."""
        return configured_sinks(self.run.folder, self.config.log)

    # -- 1. INITIALIZATION

    def initialize(self) -> None:
        """Build the model, then probes, optimizer and schedule; then load the newest checkpoint."""
        run = self.run
        self.build()
        run.load_pretrained(self)
        run.distributed.synchronise_batchnorm(self, self.config.hardware.sync_batchnorm)
        run.freeze.begin(self)
        run.widths = check.representation_widths(self)
        self.initialize_probes()
        run.set_metric_names(check.check_forward(self))
        run.distributed.shard(self)
        run.loss = run.distributed.wrap(LossModule.of(self, self.config.hardware.compile))
        run.early_stopping.check(self.metric_names())
        momentum = "model.momentum" if hasattr(self.config.model, "momentum") else "momentum"
        warn_if_slow(teachers_of(self), run.plan.total_steps, momentum)
        self.initialize_optimizer()
        check.check_optimizer(self)
        keep_initial_rates(self.optimizer)  # now, so that the groups of a checkpoint have the same keys
        self.initialize_scheduler()
        check.check_scheduler(self)
        self.load_checkpoint()
        run.unsaved_state.begin(self)

    def build(self) -> None:
        """Seed, create the modules and move them to the device: the model before anything is loaded or trained."""
        self.seed_everything()
        self.initialize_modules()
        check.check_modules(self)
        self.run.precision.place(self)

    def seed_everything(self) -> None:
        """Seed Python, numpy (if it is imported) and torch with ``hardware.seed``."""
        seed_everything(self.config.hardware.seed)

    def initialize_probes(self) -> None:
        """Create an online linear probe for each representation that :meth:`encode` returns."""
        run, lr = self.run, self.config.optim.probe_lr
        self.probes = OnlineProbes(run.widths, self.num_classes, lr, run.distributed.device, run.precision.dtype)
        self.probes.watch_modules(self)

    def initialize_optimizer(self) -> None:
        """Set ``self.optimizer`` for the parameters of :meth:`parameter_groups`."""
        groups = check_parameter_groups(self, self.parameter_groups())
        self.optimizer = build_optimizer(self, self.config.optim, groups)
        self.run.freeze.add_groups(self, groups)
        self.run.group_schedules = group_schedules(groups, self.run.plan.schedule)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups of parameters to train. Default: one group of all parameters.

        A group is a dict with ``params`` and, where it differs from the run, ``lr_scale``, ``lr_schedule`` ("cosine",
        "constant" or a function of the optimizer step), ``weight_decay``, ``betas``, ``frozen_epochs``: see
        :class:`~ssl_core.optimizers.ParameterGroup`. Each trainable parameter has to be in one group.
        """
        return [{"params": self.parameters()}]

    def initialize_scheduler(self) -> None:
        """Set ``self.schedule``, a pure function: optimizer step -> factor of the learning rate."""
        self.schedule = self.run.plan.schedule(self.config.optim.schedule)

    def decay_schedule(self, step: int) -> float:
        """Return the factor of the weight decay at an optimizer step. A pure function of the step."""
        optim = self.config.optim
        return self.run.plan.weight_decay_factor(step, optim.weight_decay, optim.weight_decay_end)

    def metric_names(self) -> set[str]:
        """Return the names that ``optim.monitor`` may have. Override it to add metrics, except terms of the loss."""
        return self.run.metric_names

    # -- 2. TRAIN

    def before_train_epoch(self) -> None:
        """Called before the first batch of an epoch, or the first after a resume. Does nothing."""

    def after_train_epoch(self) -> None:
        """Called after the last batch of an epoch. Does nothing."""

    def before_train_step(self) -> None:
        """Called before each training batch; ``self.data`` is set. Does nothing."""

    def after_train_step(self) -> None:
        """Called after each training batch; ``self.run.weights_moved``: whether the optimizer has stepped. Does nothing."""

    def train_epoch(self) -> None:
        """Train on one pass over the data, from batch ``progress.batch`` on."""
        run, progress = self.run, self.progress
        self.before_train_epoch()
        self.train()
        run.freeze.set_mode(progress.epoch)
        self.probes.forget()  # features of an evaluation that was overridden without torch.no_grad()
        run.throughput.restart()
        teachers = teachers_of(self)
        for self.data in run.batches.training():  # on the device, from the saved position; seeds each step
            self.before_train_step()
            run.weights_moved = check.checked_step(self, progress.step, self.train_step(self.data))
            run.profiler.begin("other")
            if run.weights_moved:
                for teacher in teachers:
                    teacher.follow(progress.step, run.plan.total_steps)
            self.after_train_step()
            progress.batch += 1
            run.end_batch()
            if run.weights_moved:
                run.unsaved_state.check(self)  # once, after the first optimizer step
                if run.triggers.checkpoint_due_in_epoch:
                    self.save_checkpoint()
                    run.triggers.raise_if_stopped()
        self.after_train_epoch()

    def train_step(self, batch: Batch) -> bool:
        """Compute the gradients of one batch; after the last batch of an accumulation, step the optimizer and return True."""
        run, precision = self.run, self.run.precision
        last, divisor = run.plan.accumulation(self.progress.batch)
        run.profiler.begin("forward")
        with check.explained_loss(self):
            terms = self.compute_gradients(last, divisor)
        run.profiler.begin("probes")
        probe_losses = self.probes.train_step(self.data.labels, run.distributed)  # of all batches that the loss joined
        run.throughput.add(len(batch.labels) * run.distributed.world_size)
        if not last:
            return False
        run.distributed.check_all_used(self)
        run.profiler.begin("optimizer")
        step = self.progress.step
        set_rates(self.optimizer, step, self.schedule, self.decay_schedule(step), run.group_schedules)
        run.freeze.cancel_gradients(self.progress.epoch)
        norm = precision.gradient_norm(self.optimizer)
        if not precision.skips_overflows:
            run.nan_guard.check_gradients(norm, self.named_parameters())
        precision.clip(self.optimizer, norm, self.config.optim.grad_max_norm)
        if not precision.step(self.optimizer):
            return False
        self.progress.step += 1
        run.profiler.begin("logging")
        if run.triggers.log_due(self.progress.batch + 1 == run.plan.batches_per_epoch):
            run.log.step(terms, probe_losses, norm, self.optimizer)
        return True

    def compute_gradients(self, last: bool, divisor: int) -> dict[str, Tensor]:
        """Add the gradients of the batch ``self.data``; return the terms of its loss.

        ``last``: whether the optimizer steps after this batch; gradients are averaged over the ranks only then. ``divisor``:
        number of batches of this step. Their losses are averaged, which is right for a mean over samples. The state of a loss
        (a center, a queue) moves once per step, as with one large batch.
        """
        run = self.run
        with run.distributed.synchronised(run.loss, when=last):
            with run.precision.autocast(), accumulate_updates(self, last) if divisor > 1 else nullcontext():
                terms = run.loss()
            run.nan_guard.check_loss(terms, self.data.ids)
            run.profiler.begin("backward")
            run.precision.backward(total_loss(terms) / divisor if divisor > 1 else total_loss(terms))
        return terms

    # -- 2. EVAL

    def before_eval_epoch(self) -> None:
        """Called before an evaluation. Does nothing."""

    def after_eval_epoch(self) -> None:
        """Called after an evaluation. Does nothing."""

    def before_eval_step(self) -> None:
        """Called before each evaluation batch; ``self.data`` is set. Does nothing."""

    def after_eval_step(self) -> None:
        """Called after each evaluation batch. Does nothing."""

    @torch.no_grad()
    def eval_epoch(self) -> dict[str, float]:
        """Evaluate on every evaluation set. Log and return ``<dataset>/accuracy``, ``/knn``, ``/probe_<name>`` and more."""
        run = self.run
        self.before_eval_epoch()
        run.nan_guard.check_weights(self.named_parameters())
        self.eval()
        run.distributed.share_buffers(self)
        run.begin_evaluation(self.probes, self.features, self.save_checkpoint)
        values: dict[str, float] = {}
        for name in run.loaders.evaluation:
            for self.data in run.stop_aware(run.batches.evaluation(name)):  # on a signal: save and stop
                self.before_eval_step()
                self.eval_step(self.data)
                self.after_eval_step()
            values |= {f"{name}/{metric}": value for metric, value in run.online_metrics.compute().items()}
        self.after_eval_epoch()
        run.log.evaluation(values)
        return values

    def eval_step(self, batch: Batch) -> None:
        """Add one batch to the metrics: the output of ``forward`` against the labels, and the representations."""
        with self.run.precision.autocast():
            prediction, representations = self.forward(batch.views[0]), self.encode(batch.views[0])
        self.run.nan_guard.check_outputs({"prediction": prediction, **representations})
        self.run.online_metrics.add(prediction, representations, batch.labels)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Return the representations to evaluate: ``{"backbone": (N, D), "projector": (N, E)}``; else the output of forward."""
        return representations(self, x)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return the first representation of :meth:`encode`, ``(N, D)``, at least float32: used by kNN and the final table."""
        with self.run.precision.autocast():
            return widen(next(iter(self.encode(x.to(self.run.distributed.device, self.run.precision.dtype)).values())))

    def extract(self, images: Tensor | Iterable[Any], batch_size: int = 256) -> Tensor | tuple[Tensor, Tensor]:
        """Return features ``(N, D)`` in evaluation mode, on the CPU; of a loader, features and labels ``(N,) int64``.

        ``images`` are a tensor ``(N, C, H, W)``, normalized as in training, or a loader of batches ``(views, labels, ids)``.
        """
        return extract(self, self.features, images, batch_size)

    # -- CHECKPOINTS AND IMAGES

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by its name in a checkpoint."""
        return {"model": self, "optimizer": self.optimizer, "probes": self.probes, **self.run.parts()}

    def save_checkpoint(self) -> None:
        """Save the state of all :meth:`parts`, if the weights are finite."""
        self.run.save(self.parts())

    def load_checkpoint(self) -> None:
        """Load the newest intact checkpoint of the run folder, if there is one."""
        self.run.load(self.parts())

    def log_image(self, name: str, image: Any) -> None:
        """Save an image as ``<run>/images/<name>/step_<n>.png`` on rank 0 and show it in wandb and TensorBoard.

        ``image`` is a matplotlib figure, or a tensor or array ``(C, H, W)``, ``(H, W, C)`` or ``(H, W)`` of 1, 3 or 4
        channels, ``uint8`` or floating point in [0, 1]. It waits for the device: call it every few hundred steps.
        """
        if hasattr(self, "run"):  # set in fit() only
            self.run.log_image(name, image)
