"""Training steps of our methods against lightly's modules and losses in a Lightning loop, on the same backbone and images.

    python3 runs/bench/methods_against_lightly.py
    python3 runs/bench/methods_against_lightly.py simclr mae --precision bf16 fp32 --seconds 4    # bf16 where it is fast

Batches of images are fixed and in memory: data loading does not matter. Both sides train a ResNet-9 of width 16 (MAE: a ViT of
width 192 and depth 4 with patches of 4 pixels) with heads of the same widths and AdamW, without probes; 32 pixels, local crops
of 16. They take turns, each in its own process and one thread. Memory is by how much the peak of a process is above what it
held after its imports. Lightning and lightly are not dependencies (``pip install lightly pytorch-lightning``).
"""

import argparse
import dataclasses
import os
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from process_timing import Epoch, Result, compare, memory_mib, processors
from turns import Turns

STEPS, BATCH, SHAPE, LOCAL = 2, 64, (3, 32, 32), 16
HIDDEN, OUTPUT, QUEUE, PROTOTYPES = 256, 64, 4096, 256
VIT = {"patch_size": 4, "width": 192, "depth": 4, "num_heads": 3}
DECODER = {"decoder_width": 128, "decoder_depth": 2, "decoder_heads": 4}
OPTIONS: dict[str, dict[str, Any]] = {  # of our methods; theirs are in the functions below
    "simclr": {"projector": [HIDDEN, OUTPUT]},
    "moco_v2": {"projector": [HIDDEN, OUTPUT], "queue_size": QUEUE},
    "byol": {"projector": [HIDDEN, OUTPUT], "predictor": [HIDDEN]},
    "simsiam": {"projector": [HIDDEN, HIDDEN, HIDDEN], "predictor": [OUTPUT]},
    "vicreg": {"projector": [HIDDEN, HIDDEN, HIDDEN]},
    "swav": {"projector": [HIDDEN, OUTPUT], "num_prototypes": PROTOTYPES, "queue_size": 0},
    "dino": {"projector": [HIDDEN, HIDDEN, OUTPUT], "num_prototypes": PROTOTYPES, "freeze_last_layer": 0},
    "mae": DECODER,
}
METHODS = tuple(OPTIONS)


def batches(method: str) -> list[Any]:
    """Return batches without labels: one view for MAE, two global and four local ones for SwAV and DINO, else two views."""
    import torch

    sizes = {"mae": [SHAPE[1]], "swav": [SHAPE[1]] * 2 + [LOCAL] * 4, "dino": [SHAPE[1]] * 2 + [LOCAL] * 4}
    views = sizes.get(method, [SHAPE[1]] * 2)
    return [
        ([torch.randn(BATCH, 3, size, size) for size in views], torch.full((BATCH,), -1), torch.arange(BATCH))
        for _ in range(4)
    ]


def ours(method: str, precision: str) -> Epoch:
    import torch

    from ssl_core import Config, HardwareConfig, LogConfig, OptimConfig
    from ssl_core.methods import method_class

    kind = method_class(method)
    _imported()
    torch.manual_seed(0)
    turns = Turns(batches(method), STEPS)

    @dataclasses.dataclass
    class Data:
        def open(self, batch_size: int, seed: int, rank: int, world_size: int) -> Any:
            return SimpleNamespace(train=turns, reference=turns, evaluation={}, num_classes=0, image_shape=SHAPE)

    backbone, options = ("vit_tiny", VIT) if method == "mae" else ("resnet9", {"width": 16})
    config = Config(
        data=Data(),
        model=kind.config_class(name=method, backbone=backbone, backbone_options=options, **OPTIONS[method]),
        optim=OptimConfig(optimizer="AdamW", lr=1e-3, batch_size=BATCH, epochs=1),
        hardware=HardwareConfig(device="cpu", num_threads=1, precision=precision),
        log=LogConfig(folder=tempfile.mkdtemp(dir=os.environ["BENCH"]), run="run", progress=False),
    )
    return turns.drive(kind(config).fit, BATCH)


def theirs(method: str, precision: str) -> Epoch:
    import pytorch_lightning
    import torch
    from lightly import loss  # noqa: F401
    from lightly.models import modules, utils  # noqa: F401

    from ssl_core.backbones import build_backbone

    if method == "mae":
        from timm.models.vision_transformer import VisionTransformer  # noqa: F401
    _imported()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    build = {"mae": _mae, "swav": _swav, "dino": _dino}.get(method, partial(_joint_embedding, method))
    step, networks, before = build(None if method == "mae" else build_backbone("resnet9", SHAPE, width=16))

    class Method(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.networks = networks

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            before()
            return step(batch[0])

        def configure_optimizers(self) -> Any:
            trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
            return torch.optim.AdamW(trained, lr=1e-3, weight_decay=1e-4)

    warnings.simplefilter("ignore")  # advice about workers and validation
    turns = Turns(batches(method), STEPS)
    trainer = pytorch_lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_progress_bar=False, enable_model_summary=False, logger=False,
        enable_checkpointing=False, precision={"bf16": "bf16-mixed", "fp32": "32-true"}[precision],
    )  # fmt: skip
    return turns.drive(lambda: trainer.fit(Method(), turns), BATCH)


def _joint_embedding(method: str, backbone: Any) -> Any:
    """Return step, networks and what comes before a step, of a method with two views."""
    import copy

    from lightly.loss import NegativeCosineSimilarity, NTXentLoss, VICRegLoss
    from lightly.models.modules import heads
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from torch import nn

    width = backbone.num_features
    head = {
        "simclr": lambda: heads.SimCLRProjectionHead(width, HIDDEN, OUTPUT),
        "moco_v2": lambda: heads.MoCoProjectionHead(width, HIDDEN, OUTPUT),
        "byol": lambda: heads.BYOLProjectionHead(width, HIDDEN, OUTPUT),
        "simsiam": lambda: heads.SimSiamProjectionHead(width, HIDDEN, HIDDEN),
        "vicreg": lambda: heads.VICRegProjectionHead(width, HIDDEN, HIDDEN),
    }[method]()
    student = nn.Sequential(backbone, head)
    if method in ("simclr", "vicreg"):
        criterion = NTXentLoss(0.2) if method == "simclr" else VICRegLoss()
        return lambda views: criterion(*map(student, views)), student, lambda: None
    if method == "simsiam":
        predictor = heads.SimSiamPredictionHead(HIDDEN, OUTPUT, HIDDEN)
        cosine = NegativeCosineSimilarity()

        def simsiam(views: Any) -> Any:
            z0, z1 = map(student, views)
            return (cosine(predictor(z0), z1.detach()) + cosine(predictor(z1), z0.detach())) / 2

        return simsiam, nn.ModuleList([student, predictor]), lambda: None
    teacher = copy.deepcopy(student)
    deactivate_requires_grad(teacher)

    def follow() -> None:
        update_momentum(student, teacher, 0.99)

    if method == "moco_v2":
        contrast = NTXentLoss(0.2, memory_bank_size=(QUEUE, OUTPUT))
        networks = nn.ModuleList([student, teacher, contrast])
        return lambda views: contrast(student(views[0]), teacher(views[1])), networks, follow
    predictor = heads.BYOLPredictionHead(OUTPUT, HIDDEN, OUTPUT)
    cosine = NegativeCosineSimilarity()

    def byol(views: Any) -> Any:
        first, second = (predictor(student(view)) for view in views)
        return (cosine(first, teacher(views[1]).detach()) + cosine(second, teacher(views[0]).detach())) / 2

    return byol, nn.ModuleList([student, teacher, predictor]), follow


def _swav(backbone: Any) -> Any:
    from lightly.loss import SwaVLoss
    from lightly.models.modules import heads
    from torch import nn

    projector = heads.SwaVProjectionHead(backbone.num_features, HIDDEN, OUTPUT)
    prototypes, criterion = heads.SwaVPrototypes(OUTPUT, PROTOTYPES), SwaVLoss()

    def step(views: Any) -> Any:
        scores = [prototypes(nn.functional.normalize(projector(backbone(view)))) for view in views]
        return criterion(scores[:2], scores[2:])

    return step, nn.ModuleList([backbone, projector, prototypes]), prototypes.normalize


def _dino(backbone: Any) -> Any:
    import copy

    from lightly.loss import DINOLoss
    from lightly.models.modules import heads
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from torch import nn

    student, teacher = (
        nn.Sequential(each, heads.DINOProjectionHead(backbone.num_features, HIDDEN, OUTPUT, PROTOTYPES))
        for each in (backbone, copy.deepcopy(backbone))
    )
    teacher.load_state_dict(student.state_dict())  # torch cannot copy the weight-normed layer
    deactivate_requires_grad(teacher)
    criterion = DINOLoss(PROTOTYPES)

    def step(views: Any) -> Any:
        return criterion([teacher(view) for view in views[:2]], [student(view) for view in views], epoch=0)

    return step, nn.ModuleList([student, teacher, criterion]), lambda: update_momentum(student, teacher, 0.99)


def _mae(_: None) -> Any:
    from lightly.models import utils
    from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    patch, width = VIT["patch_size"], VIT["width"]
    vit = VisionTransformer(
        SHAPE[1], patch, num_classes=0, embed_dim=width, depth=VIT["depth"], num_heads=VIT["num_heads"]
    )
    encoder = MaskedVisionTransformerTIMM(vit=vit)
    decoder = MAEDecoderTIMM(
        num_patches=vit.patch_embed.num_patches, patch_size=patch, embed_dim=width, decoder_embed_dim=DECODER["decoder_width"],
        decoder_depth=DECODER["decoder_depth"], decoder_num_heads=DECODER["decoder_heads"],
    )  # fmt: skip
    criterion = nn.MSELoss()

    def step(views: Any) -> Any:
        images = views[0]
        length = encoder.sequence_length
        keep, mask = utils.random_token_mask((len(images), length), mask_ratio=0.75, device=images.device)
        tokens = decoder.embed(encoder.encode(images=images, idx_keep=keep))
        masked = utils.repeat_token(decoder.mask_token, (len(images), length))
        masked = utils.set_at_index(masked, keep, tokens.type_as(masked))
        prediction = decoder.predict(utils.get_at_index(decoder.decode(masked), mask))
        target = utils.get_at_index(utils.patchify(images, patch), mask - 1)  # without the class token
        return criterion(prediction, utils.normalize_mean_var(target, dim=-1))

    return step, nn.ModuleList([encoder, decoder]), lambda: None


def _imported() -> None:
    """Note the memory that this process holds after its imports, with those that the first step of an optimizer makes."""
    import torch._dynamo  # noqa: F401

    Path(os.environ["BENCH"], f"{os.getpid()}").write_text(str(memory_mib("VmRSS")))


def table(results: dict[str, Result], methods: list[str], precisions: list[str]) -> str:
    """Return the table of reStructuredText: both sides, the ratio of processor seconds turn by turn, and the peaks."""
    header = ("..", "precision", "ours, samples/s", "lightly's", "ratio", "ratio, wall", "ours, MiB", "lightly's")
    rows = [header]
    for method in methods:
        for precision in precisions:
            us, them = results[f"ours {method} {precision}"], results[f"lightly {method} {precision}"]
            ratio, wall = (
                statistics.median(a / b for a, b in zip(*pair))
                for pair in ((us.cpu_rates, them.cpu_rates), (us.rates, them.rates))
            )
            rates = (f"{result.rate:,.0f}" for result in (us, them))
            peaks = (f"{result.peak_mib:,.0f}" for result in (us, them))
            rows.append((method, precision, *rates, f"{ratio:.2f}", f"{wall:.2f}", *peaks))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=METHODS, metavar="method", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, at least")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH"] = folder
        for method in arguments.methods:
            for precision in arguments.precision:
                pair = {
                    f"{who.__name__} {method} {precision}": partial(who, method, precision) for who in (ours, theirs)
                }
                found = compare(pair, arguments.seconds, arguments.repetitions)
                for name, result in found.items():
                    result.peak_mib -= float(Path(folder, str(result.process)).read_text())
                    results[name.replace("theirs", "lightly")] = result
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightly", "pytorch-lightning"))
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}, {versions}\n")
    print(table(results, arguments.methods, arguments.precision))


if __name__ == "__main__":
    main()
