"""The configuration of a run: plain dataclasses with one comment for each field. Nothing here imports torch.

``field(metadata=...)`` has the allowed values: ``choices`` (a tuple), ``low``/``high`` (inclusive), ``above``/``below``
(exclusive), and ``resume="free"`` for a key that may change when a run is resumed, because it changes neither weights nor
metrics.
"""

import os
from dataclasses import dataclass, field, fields
from typing import Any

from ssl_core.config.checks import check_epochs, check_freeze, check_max_steps
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_eval.metrics.registry import LABEL_FREE

MAX_NAME_BYTES = 240  # file systems allow 255; files next to the run folder have its name with a prefix

# The optimizers that optim.optimizer can name: LAMB, LARS and Muon are ours, the others torch.optim's
OPTIMIZERS = (
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LAMB", "LARS", "Muon", "NAdam", "RAdam", "RMSprop",
    "Rprop", "SGD",
)  # fmt: skip

# Options that only some of them have; a test compares this with their signatures
OPTIMIZER_OPTIONS = {
    "betas": ("Adam", "AdamW", "Adamax", "LAMB", "Muon", "NAdam", "RAdam"),
    "nesterov": ("LARS", "SGD"),
    "trust_coefficient": ("LARS",),
    "clip": ("LARS",),
}


def option(default: Any, **metadata: Any) -> Any:
    """Return a dataclass field with a default and the allowed values; lists and dicts are copied for each instance."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """Method, backbone and initial weights. The keys of a method are fields of a subclass, its ``config_class``."""

    name: str = "simclr"  # the method: a name of ssl_core.methods.METHODS, or of a user-defined class
    backbone: str = "resnet18"  # name of ssl_core.backbones, or of timm if it is installed
    backbone_options: dict[str, Any] = option({})  # passed to the backbone, e.g. {width: 32}
    # initial weights of the backbone: a run folder, a .safetensors file, or a checkpoint of any program
    init_from: str | None = None

    def check(self) -> None:
        """Raise a ConfigError for an unknown backbone or option. Called before any data is opened."""
        from ssl_core.backbones import check_backbone  # imports torch

        check_backbone(self.backbone, self.backbone_options)

    def check_batch(self, optim: "OptimConfig") -> None:
        """Raise a ConfigError for a batch that the method cannot be trained with. Called before any data is opened."""


@dataclass
class OptimConfig:
    """Optimizer, learning rate, batch size, length of the training and stopping."""

    optimizer: str = option("SGD", choices=OPTIMIZERS)  # a class of torch.optim, LAMB, LARS, Muon
    lr: float = option(0.1, low=0.0)  # peak learning rate; never scaled by the batch size
    batch_size: int = option(256, low=1)  # samples per batch, over all ranks
    epochs: int = option(100, low=0)  # passes over the training data
    max_steps: int | float = option(-1, low=-1)  # batches per epoch: -1 all, n, or a fraction below 1
    weight_decay: float = option(1e-4, low=0.0)  # weight decay; never on biases and normalisation parameters
    weight_decay_end: float | None = option(None, low=0.0)  # weight decay at the end, on half a cosine; null: constant
    layer_decay: float = option(1.0, above=0.0, high=1.0)  # factor of the learning rate from a layer to the one below
    momentum: float = option(0.9, low=0.0, below=1.0)  # momentum of LARS, Muon, RMSprop and SGD
    nesterov: bool = False  # Nesterov momentum: SGD, LARS
    betas: list[float] | None = option(None)  # betas of Adam-like optimizers, e.g. [0.9, 0.95]; null: its default
    trust_coefficient: float | None = option(None, above=0.0)  # trust coefficient of LARS; null: 0.001
    clip: bool = False  # LARS: a layer's learning rate is at most lr (LARC; clip_lr of solo-learn, with 0.02 above)
    accumulation_steps: int = option(1, low=1)  # batches whose gradients are averaged in one optimizer step
    grad_max_norm: float | None = option(None, above=0.0)  # clip the norm of the whole gradient to this; null: never
    schedule: str = option("cosine", choices=("cosine", "constant"))  # learning rate after the warm-up
    warmup_epochs: float = option(0.0, low=0.0)  # epochs of linear warm-up
    freeze: dict[str, Any] = option({})  # module -> number of frozen epochs, e.g. {backbone: 5}; -1: all
    patience: int = option(0, low=0)  # evaluations without improvement after which the run ends; 0: no early stopping
    monitor: str | None = None  # metric for early stopping and sweeps, e.g. cifar10/knn
    min_delta: float = option(0.0, low=0.0)  # smallest change that is an improvement, in the metric's unit
    probe_lr: float = option(1e-3, above=0.0)  # learning rate of the online probes (AdamW), constant

    def check(self) -> None:
        """Raise a ConfigError for keys that cannot be together. Called before any data is opened."""
        self._check_optimizer()
        check_epochs(self.epochs, self.warmup_epochs)
        check_max_steps(self.max_steps)
        check_freeze(self.freeze)
        if self.patience and not self.monitor:
            raise ConfigError(
                key="optim.patience", value=self.patience, expected="a metric in optim.monitor, e.g. cifar10/knn"
            )
        if self.weight_decay_end is not None and not self.weight_decay > 0:  # the schedule multiplies the start
            raise ConfigError(
                key="optim.weight_decay_end", value=self.weight_decay_end,
                expected=f"null, or optim.weight_decay above 0 (it is {self.weight_decay})",
            )  # fmt: skip

    def _check_optimizer(self) -> None:
        """Raise a ConfigError for an option that the optimizer does not have, or an invalid one."""
        for key, optimizers in OPTIMIZER_OPTIONS.items():
            value = getattr(self, key)
            if value and self.optimizer not in optimizers:
                raise ConfigError(
                    f"{self.optimizer} does not have this option", key=f"optim.{key}", value=value,
                    expected=f"one of {', '.join(map(repr, optimizers))} as optim.optimizer",
                )  # fmt: skip
        if self.weight_decay and self.optimizer == "Rprop":
            raise ConfigError(
                "Rprop has no weight decay", key="optim.weight_decay", value=self.weight_decay, expected="0"
            )
        if self.betas is not None and (len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas)):
            raise ConfigError(key="optim.betas", value=self.betas, expected="two numbers of at least 0 and below 1")
        if self.nesterov and not self.momentum:
            raise ConfigError(
                key="optim.nesterov", value=True, expected=f"optim.momentum above 0 (it is {self.momentum})"
            )


@dataclass
class HardwareConfig:
    """Device, precision, number of threads, strategy of the ranks, and the seed."""

    seed: int = option(0, low=0, below=2**63)  # random seed of weights, order, views and dropout
    device: str = option("auto", choices=("auto", "cpu", "cuda"))  # auto: cuda if available
    precision: str = option("auto", choices=("auto", "fp32", "bf16", "fp16", "fp64"))  # auto: bf16 where it is fast
    compile: bool = False  # torch.compile the loss; each process compiles, unless TORCHINDUCTOR_CACHE_DIR is set
    strategy: str = option("ddp", choices=("ddp", "fsdp"), resume="free")  # fsdp: each rank keeps a part of the weights
    sync_batchnorm: bool = True  # batch normalisation by the statistics of all ranks; false: of each rank
    num_threads: int = option(0, low=0, resume="free")  # threads of torch, at most 4 per processor; 0: its default
    profile: int = option(0, low=0, resume="free")  # number of batches to profile: profile.md, trace.json

    def check(self) -> None:
        """Raise a ConfigError for keys that cannot be together. Called before any data is opened."""
        if self.strategy != "fsdp":
            return
        if self.compile:
            raise ConfigError(
                "sharded weights are gathered in the middle of the compiled loss",
                key="hardware.strategy", value="fsdp", expected="hardware.compile=false",
            )  # fmt: skip
        if self.precision == "fp16":
            raise ConfigError(
                "the gradient scaler of fp16 needs whole gradients",
                key="hardware.strategy", value="fsdp", expected="hardware.precision=bf16, which needs no scaler",
            )  # fmt: skip


@dataclass
class LogConfig:
    """Run folder, logging, checkpoints and evaluations during training."""

    folder: str = option("outputs", resume="free")  # the folder of all runs
    run: str | None = option(None, resume="free")  # name of the run, a folder in log.folder; null: by the launcher
    every_steps: int = option(10, low=1)  # optimizer steps between two lines of train/... metrics; if optim.monitor is
    # one of them, the last step of each epoch has a line too
    eval_every: int = option(10, low=0)  # epochs between evaluations, each after a checkpoint; 0: only at the end
    checkpoint_every: int = option(10, low=0)  # epochs between checkpoints; 0: only at the end
    checkpoint_every_steps: int = option(0, low=0)  # optimizer steps between checkpoints; 0: never
    checkpoint_every_minutes: float = option(0.0, low=0.0)  # minutes between checkpoints; 0: never
    checkpoint_in_background: bool = option(False, resume="free")  # write checkpoints from a copy in memory
    keep_checkpoints: int = option(2, low=1)  # number of newest checkpoints to keep
    knn_samples: int = option(50_000, low=0)  # training images for kNN and the table, class-balanced; 0: no kNN
    label_free: list[str] = option([], choices=LABEL_FREE)  # label-free metrics to compute, e.g. [rankme, uniformity]
    report: bool = option(True, resume="free")  # write the table and the figure at the end
    export: bool = option(False, resume="free")  # write backbone.safetensors at the end
    wandb: str = option("off", choices=("off", "online", "offline"), resume="free")  # log to wandb; offline:
    # upload later by ``wandb sync``
    wandb_project: str = option("stable-ssl", resume="free")  # name of the project on wandb
    tensorboard: bool = option(False, resume="free")  # also write TensorBoard events into <run>/tensorboard
    level: str = option("info", choices=("debug", "info", "warning", "error"), resume="free")  # level of the messages
    progress: bool = option(True, resume="free")  # a progress bar, on a terminal or in a notebook

    def check(self) -> None:
        """Raise a ConfigError for a name that cannot be a folder. Called before any data is opened."""
        if not self.folder.strip() or not self.folder.isprintable():
            raise ConfigError(key="log.folder", value=self.folder, expected="the path of a folder")
        if self.folder.partition("/")[0].startswith("~"):
            raise ConfigError(
                "'~' is not expanded",
                key="log.folder",
                value=self.folder,
                expected=repr(os.path.expanduser(self.folder)),
            )
        name = self.run if self.run is not None else "run"
        for part in name.split("/"):  # several parts: "sweep/lr_0.1"
            size = len(os.fsencode(part)) if part.isprintable() else 0
            if part != part.strip() or part in ("", ".", "..") or not 0 < size <= MAX_NAME_BYTES:
                raise ConfigError(
                    key="log.run",
                    value=name if len(name) <= MAX_NAME_BYTES // 4 else f"{name[: MAX_NAME_BYTES // 4]}...",
                    expected=f"the name of a folder in log.folder, at most {MAX_NAME_BYTES} bytes (received "
                    f"{len(name.encode(errors='replace'))}), without control characters, spaces at its ends, '.' and '..'",
                )


@dataclass
class Config:
    """Configuration of a run in five groups.

    ``data`` is any object whose ``open(batch_size, seed, rank, world_size)`` gives loaders.
    """

    data: Any  # data set and views, e.g. ssl_data.DataConfig
    model: Any = field(default_factory=ModelConfig)  # a ModelConfig, of the method's own class
    optim: OptimConfig = field(default_factory=OptimConfig)  # optimizer, batch size and length of the training
    hardware: HardwareConfig = field(default_factory=HardwareConfig)  # seed, device, precision and ranks
    log: LogConfig = field(default_factory=LogConfig)  # run folder, metrics and checkpoints

    def check(self) -> None:
        """Raise a ConfigError for a wrong type, value or combination.

        Called by the command line and at the start of ``fit()``, before any data is opened. Numbers are stored as the
        annotated type.
        """
        if isinstance(self.data, type) or not hasattr(self.data, "open"):
            raise ConfigError(
                key="data", value=self.data, expected="an object with open(batch_size, seed, rank, world_size)"
            )
        for name, kind in GROUPS.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(key=name, value=getattr(self, name), expected=f"an instance of {kind.__name__}")
        check_groups({each.name: getattr(self, each.name) for each in fields(self)})
        self.model.check_batch(self.optim)


GROUPS: dict[str, type[Any]] = {
    "model": ModelConfig,
    "optim": OptimConfig,
    "hardware": HardwareConfig,
    "log": LogConfig,
}
