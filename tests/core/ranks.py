"""Runs on several ranks: a script that forks them, so that torch is imported once for all of them.

    python3 ranks.py FOLDER '[[1, ["plain"]], [2, ["plain", "died"]]]'

The second argument lists world sizes and their cases, in JSON. Each rank finds itself in the variables of a SLURM step (or in
torchrun's, if that has started this script) and goes through its cases, one after the other. A case is a run in
``FOLDER/<case>_<world size>/run``, or writes its results there.
"""

import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # 4 s, which every rank would spend on its first optimizer step
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, Teacher
from ssl_core.distributed import fsdp
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import Preempted, RankLostError, RunError
from ssl_core.evaluation import online_metrics
from ssl_core.methods import METHODS, method_class
from ssl_core.modules.ema import teachers_of
from ssl_core.training.fit_and_report import fit_and_report
from ssl_losses import DINOLoss, nt_xent


def load(name: str, path: str) -> Any:
    """Import a file of this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy, methods = load("toy", "conftest.py"), load("methods", "methods/conftest.py")


class Normalised(BaseModel):
    """Batch normalisation in every place: encoder, projector, a teacher that is a copy of both; and a loss with a centre."""

    def initialize_modules(self):
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 8)
        )
        self.projector = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False, momentum=None))
        self.head = nn.Linear(8, self.num_classes)
        self.teacher = Teacher(nn.Sequential(self.backbone, self.projector), momentum=0.9, final_momentum=1.0)
        self.distillation = DINOLoss(num_prototypes=8, center_momentum=0.5)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        first, second = self.data[0]
        student, teacher = self.projector(self.backbone(first)), self.teacher(second)
        return {
            "contrast": nt_xent(student, teacher, temperature=0.5),
            "distance": self.distillation([student, student], [teacher]),  # its centre is moved by all ranks
            "classes": nn.functional.cross_entropy(self.forward(second), self.data[1]),
        }


class Grouped(Normalised):
    """Parameter groups: one frozen for an epoch, one with a constant learning rate."""

    def parameter_groups(self):
        return [
            {"params": [*self.backbone.parameters(), *self.distillation.parameters()], "frozen_epochs": 1},
            {"params": self.projector.parameters()},
            {"params": self.head.parameters(), "lr_scale": 0.5, "lr_schedule": "constant", "weight_decay": 0.1},
        ]


class Stopped(Normalised):
    """Gets a signal on its last rank, at another step for each number of ranks."""

    def after_train_step(self):
        super().after_train_step()
        ranks = self.run.distributed
        if self.progress.step == {1: 3, 2: 6, 4: 9}[ranks.world_size] and ranks.rank == ranks.world_size - 1:
            self.run.stop.name = "SIGUSR1"


class Unused(Normalised):
    """Has a module that no loss uses."""

    def initialize_modules(self):
        super().initialize_modules()
        self.spare = nn.Linear(2, 2)


def unused(folder: Path) -> None:
    """Keep how the run ends."""
    try:
        Unused(configuration(folder)).fit()
    except RunError as error:
        (folder / "error.txt").write_text(str(error))


class Dying(Normalised):
    """The last rank dies in the middle of the training: of 2 by an error, of 4 by kill -9. Says when."""

    def after_train_step(self):
        super().after_train_step()
        if self.progress.step == 5 and self.run.distributed.rank == self.run.distributed.world_size - 1:
            note(self.run.folder.path, "died")
            if self.run.distributed.world_size == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("a bad batch")


def note(folder: Path, word: str) -> None:
    """Leave a file with the time, and a word."""
    (folder / f"note_{os.getpid()}.json").write_text(json.dumps([word, time.time()]))


def die(folder: Path) -> None:
    """Be in a run in which a rank dies. To come last: with the run, the process ends."""
    if folder.name.endswith("_1"):
        return
    try:
        Dying(configuration(folder, optim__epochs=1000)).fit()
    except RankLostError as error:
        note(folder / "run", str(error))
    except ValueError:
        assert folder.name.endswith("_2")
    os._exit(1 if "RANK" in os.environ else 0)


class UnevenData(toy.ToyData):
    """An evaluation set that no number of ranks divides (its last batch is one image), and training labels that lack."""

    def open(self, batch_size, seed, rank=0, world_size=1):
        loaders = super().open(batch_size, seed, rank, world_size)
        test = loaders.evaluation["toy"]
        test.images, test.labels = torch.cat([test.images, test.images[:1]]), torch.cat([test.labels, test.labels[:1]])
        loaders.reference.labels = loaders.reference.labels.where(torch.arange(64) % 8 != 0, -1)  # all one rank's
        return loaders


class OrderedLoader(toy.ToyLoader):
    """Gives each rank consecutive samples of a batch, as ssl_data does: queues then have the same order on any ranks."""

    def share(self, ids):
        return ids.tensor_split(self.world_size)[self.rank]


class OrderedData(toy.ToyData):
    loader = OrderedLoader


def configuration(folder: Path, data: Any = None, **changes: Any) -> Config:
    config = Config(
        data=data or toy.ToyData(),
        model=ModelConfig(name="toy"),
        optim=OptimConfig(batch_size=16, epochs=3, lr=0.1, grad_max_norm=1.0),
        hardware=HardwareConfig(device="cpu", precision="fp64", num_threads=1),
        log=LogConfig(
            folder=str(folder), run="run", every_steps=1, eval_every=1, report=False, progress=False, level="warning"
        ),
    )
    for name, value in changes.items():
        group, key = name.split("__")
        assert hasattr(getattr(config, group), key), name
        setattr(getattr(config, group), key, value)
    return config


def layers(folder: Path) -> None:
    """Keep what batch normalisations make of uneven shares of a batch, and the gradients of inputs and parameters."""
    with Distributed("cpu", rendezvous=folder / "here") as ranks:
        shares = torch.arange(12).tensor_split([1, 2, 5][: ranks.world_size - 1])  # at 4 ranks: 1, 1, 3 and 7 rows
        found = {}
        for name, (layer, batch, weights) in batch_normalisations().items():
            ranks.synchronise_batchnorm(layer, wanted=True)
            x = batch[shares[ranks.rank]].requires_grad_()
            output = layer(x)
            (output * weights[shares[ranks.rank]]).sum().backward()
            parameters = {key: ranks.sum(value.grad) for key, value in layer.named_parameters()}
            found[name] = {"output": ranks.gather(output.detach()), "input": ranks.gather(x.grad)} | parameters
            found[name] |= layer.state_dict()
        if ranks.is_main:
            torch.save(found, folder / "layers.pt")


def resumed(folder: Path) -> None:
    """Go on with the run of an earlier number of ranks."""
    with contextlib.suppress(Preempted):
        Stopped(configuration(folder.parent / "resumed")).fit()


def again(folder: Path) -> None:
    """Stop in the middle, and go on."""
    with contextlib.suppress(Preempted):
        Stopped(configuration(folder)).fit()
    Stopped(configuration(folder)).fit()


def sharded(folder: Path, optimizer: str, method: type[Normalised] = Normalised, **changes: Any) -> None:
    """Train with sharded weights, of which each layer is a unit."""
    fsdp.BLOCK_PARAMETERS = 10
    method(configuration(folder, optim__optimizer=optimizer, hardware__strategy="fsdp", **changes)).fit()


def vit(folder: Path, name: str, **changes: Any) -> None:
    """Train a method that calls other functions of its backbone and of its teacher than forward; each block is a unit."""
    fsdp.BLOCK_PARAMETERS = 10
    config = configuration(folder, OrderedData(), optim__epochs=1, **changes)
    options = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3, "pool": "mean"}
    keys = {"data2vec": {"top_blocks": 2}, "densecl": {"projector": [12, 6], "queue_size": 24}}[name]
    config.data.views = method_class(name).num_views or 2
    config.model = method_class(name).config_class(name=name, backbone="vit_tiny", backbone_options=options, **keys)
    model = method_class(name)(config)
    fit_and_report(model) if config.log.report else model.fit()


def resharded(folder: Path) -> None:
    """Go on with the run of an earlier number of ranks, sharded at 2."""
    with contextlib.suppress(Preempted):
        strategy = "fsdp" if folder.name.endswith("_2") else "ddp"
        Stopped(configuration(folder.parent / "resharded", hardware__strategy=strategy)).fit()


def joint_embedding(name: str, accumulation_steps: int) -> Callable[[Path], Any]:
    """Return a case: a method without batch statistics, 16 samples an optimizer step in one batch or in several."""

    class Small(method_class(name)):
        def initialize_modules(self):
            self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.LayerNorm(12), nn.ReLU())
            self.projector = nn.Linear(12, 6)

    def case(folder: Path) -> None:
        size = 16 // accumulation_steps
        config = configuration(
            folder, optim__batch_size=size, optim__accumulation_steps=accumulation_steps, optim__epochs=1
        )
        keys = {"whitening_size": 16} if name == "w_mse" else {}
        config.model = Small.config_class(name=name, projector=[12, 6], **keys)
        Small(config).fit()

    return case


def method(name: str, setting: str) -> Callable[[Path], None]:
    """Return a case: a small model of a method. An error is written into ``error.txt``, and the next case follows.

    Settings: "frozen" has batch normalisation, and the backbone frozen in the first of two epochs. "whole" and "halves" have
    none, and 16 samples an optimizer step in one batch or in two; "still" likewise, with a learning rate of 0.
    """

    def case(folder: Path) -> None:
        steps = 2 if setting.endswith("halves") else 1
        changes: dict[str, Any] = {
            "optim__batch_size": 16 // steps, "optim__accumulation_steps": steps, "optim__max_steps": 2 * steps,
            "optim__epochs": 2, "optim__lr": 0.0 if setting.startswith("still") else 0.001, "optim__grad_max_norm": None,
            "log__eval_every": 0, "log__knn_samples": 0,
        }  # fmt: skip
        try:
            model = methods.small_method(name, configuration(folder, OrderedData(), **changes))
            if setting == "frozen":
                watch_frozen(model, folder)
            else:
                remove_batchnorm(model)
            model.fit()
        except Exception:
            (folder / "error.txt").write_text(traceback.format_exc())

    return case


def watch_frozen(model: Any, folder: Path) -> None:
    """Freeze the backbone for an epoch, or its first layer if there is nothing else; keep which parameters have changed.

    The file has two mappings, name of a parameter -> whether it has changed: the frozen ones with their copies in teachers, and
    the others.
    """
    initialize, start = model.initialize_modules, {}

    def parameters() -> dict[str, torch.Tensor]:
        return {key: value.detach().clone() for key, value in model.named_parameters() if not key.startswith("probes.")}

    def frozen() -> set[str]:
        module = model.get_submodule(next(iter(model.run.freeze.epochs)))
        same = set(module.parameters())
        for teacher in teachers_of(model):
            copies = dict(teacher.model.named_parameters())
            same |= {copies[name] for name, each in teacher._student[0].named_parameters() if each in same}
        return {name for name, each in model.named_parameters() if each in same}

    def initialize_modules() -> None:
        initialize()
        others = [key for key in parameters() if not key.startswith("backbone.") and "teacher" not in key]
        layer = next(name for name, each in model.backbone.named_children() if any(True for _ in each.parameters()))
        model.run.freeze.epochs["backbone" if others else f"backbone.{layer}"] = 1

    def before_train_epoch() -> None:
        if model.progress.epoch == 0:
            start.update(parameters())

    def after_train_epoch() -> None:
        if model.progress.epoch == 0 and model.run.distributed.is_main:
            found: tuple[dict[str, bool], dict[str, bool]] = {}, {}
            for key, value in parameters().items():
                found[key not in frozen()][key] = not torch.equal(value, start[key])
            (folder / "frozen.json").write_text(json.dumps(found))

    model.initialize_modules, model.before_train_epoch = initialize_modules, before_train_epoch
    model.after_train_epoch = after_train_epoch


def remove_batchnorm(model: Any) -> None:
    """Remove batch normalisation, whose statistics are those of a small batch."""
    initialize = model.initialize_modules

    def initialize_modules() -> None:
        initialize()
        for module in [*model.modules()]:
            for name, child in [*module.named_children()]:
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    setattr(module, name, nn.Identity())

    model.initialize_modules = initialize_modules


def batch_normalisations() -> dict[str, tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """Return layers, a batch of 12 far from zero, and the weights of its outputs in a loss."""
    generator = torch.Generator().manual_seed(3)

    def case(layer: nn.Module, *shape: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
        batch, weights = 100 + torch.randn(2, 12, *shape, generator=generator, dtype=torch.float64)
        return layer.double(), batch, weights

    return {
        "1d": case(nn.BatchNorm1d(3), 3),
        "1d, sequences": case(nn.BatchNorm1d(3, affine=False), 3, 4),
        "2d": case(nn.BatchNorm2d(3, momentum=None), 3, 2, 2),
        "3d": case(nn.BatchNorm3d(2, track_running_stats=False), 2, 2, 2, 2),
    }


def uneven(folder: Path) -> None:
    """Train, and evaluate on a set that the ranks do not share evenly, with fewer images than there are in what others need."""
    online_metrics.VIEW_SAMPLES = 20
    measures = ["rankme", "nesum", "uniformity", "lidar", "alignment"]
    Normalised(configuration(folder, UnevenData(), log__knn_samples=20, log__label_free=measures)).fit()


FROZEN = {  # modules that thaw or never do, and a loss that will not improve by 9
    "optim__freeze": {"backbone.0": 1, "backbone.1": 2, "head": -1}, "optim__weight_decay_end": 0.1,
    "optim__epochs": 7, "optim__patience": 2, "optim__monitor": "train/loss", "optim__min_delta": 9.0,
}  # fmt: skip

COMPARING = ("simclr", "barlow_twins", "vicreg", "w_mse")  # the samples of a batch
SETTINGS = ("frozen", "whole", "halves", "still whole", "still halves")
CASES = {
    "layers": layers,
    "plain": lambda folder: Normalised(configuration(folder)).fit(),
    "accumulated": lambda folder: Normalised(configuration(folder, optim__accumulation_steps=2)).fit(),
    "again": again,
    "sharded": lambda folder: sharded(folder, "SGD", optim__accumulation_steps=2),
    "grouped": lambda folder: Grouped(configuration(folder)).fit(),
    "sharded, grouped": lambda folder: sharded(folder, "SGD", Grouped),
    "sharded, LARS": lambda folder: sharded(folder, "LARS"),
    "masked": lambda folder: vit(folder, "data2vec"),  # tokens, intermediate_tokens
    "dense": lambda folder: vit(folder, "densecl"),  # forward_dense
    "reported": lambda folder: vit(folder, "data2vec", log__report=True, log__export=False),
    "sharded, masked": lambda folder: vit(folder, "data2vec", hardware__strategy="fsdp"),
    "sharded, dense": lambda folder: vit(folder, "densecl", hardware__strategy="fsdp"),
    "LARS": lambda folder: Normalised(configuration(folder, optim__optimizer="LARS")).fit(),
    "resharded": resharded,
    "resumed": resumed,
    "frozen": lambda folder: Normalised(configuration(folder, **FROZEN)).fit(),
    **{f"{name}, {steps} batches": joint_embedding(name, steps) for name in COMPARING for steps in (1, 2)},
    **{f"{name}, {setting}": method(name, setting) for name in METHODS for setting in SETTINGS},
    "unused": unused,
    "died": die,
    "uneven": uneven,
}


def be_rank(rank: int, world_size: int, folder: Path, cases: list[str]) -> None:
    """Go through the cases as one of the ranks."""
    for case in cases:
        place = folder / f"{case}_{world_size}"
        place.mkdir(parents=True, exist_ok=True)
        CASES[case](place)


def fork(rank: int, world_size: int, *arguments: Any) -> int:
    """Start one rank of a SLURM step; return its process id."""
    process = os.fork()
    if process:
        return process
    os.environ |= {
        "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
        "SLURM_NTASKS": str(world_size),
    }  # fmt: skip
    try:
        be_rank(rank, world_size, *arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> int:
    folder, groups = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    if "RANK" in os.environ:  # torchrun's
        be_rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), folder, groups[0][1])
        return 0
    failed = 0
    for world_size, cases in groups:
        processes = [fork(rank, world_size, folder, cases) for rank in range(world_size)]
        failed += sum(os.waitpid(process, 0)[1] not in (0, signal.SIGKILL) for process in processes)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
