"""The final report of a run: one table and one figure.

The table compares the trained backbone with two baselines, the same backbone untrained and raw pixels, by the same probes on
the same samples.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core.evaluation.features import collect_features
from ssl_core.run.atomic_file import write_atomically
from ssl_eval import Features, NothingToDraw, Table, accuracy, few_shot, knn, learning_curves, linear_probe
from ssl_eval.metrics.registry import readable
from ssl_eval.report.table import NOTHING

_message = logging.getLogger(__name__)

LABELS_PER_CLASS = 10
DRAWS = 5  # random choices of the labels
COLUMNS = tuple(map(readable, ("knn_20", "linear", f"linear_{LABELS_PER_CLASS}_labels")))
PIXELS = 32  # raw pixels are compared at this edge length at most


@torch.no_grad()
def write_report(model: Any) -> list[str]:
    """Write ``table.md``, ``table.json`` and ``curves.png`` into the run folder; return the lines to show at the end.

    A cell that cannot be computed (too few images of a class, no labels) is a dash with a footnote. If no cell can be
    computed, there is no table.

    Parameters
    ----------
    model : BaseModel
        A trained model whose ``run`` is open.
    """
    labelled = model.num_classes > 1 and model.run.loaders.evaluation
    lines = _table(model) if labelled else ["no table: there are no labelled images to evaluate"]
    if not model.run.distributed.is_main:
        return []
    try:
        learning_curves([model.run.folder.path], model.run.folder.curves)
        if hasattr(model.run, "metrics"):  # in fit_and_report
            model.run.metrics.log_image(model.progress.step, "curves", model.run.folder.curves)
        lines.append(str(model.run.folder.curves))
    except (ImportError, NothingToDraw) as error:
        lines.append(f"no figure: {error}")
    return lines


def _table(model: Any) -> list[str]:
    """Evaluate the three encoders on all ranks; write the table and return it and its path."""
    rows: list[list[object]] = []
    missing: dict[str, None] = {}  # footnotes, in the order of the table
    untrained = _untrained(model)
    model.eval()
    encoders = {"trained encoder": model.features, "untrained encoder": untrained, "raw pixels": pixels}
    for name, loader in model.run.loaders.evaluation.items():
        prefix = f"{name}: " if len(model.run.loaders.evaluation) > 1 else ""
        for label, encoder in encoders.items():
            train = collect_features(model.run.reference_sample.batches(), encoder, model.run.distributed)
            features = Features(*train, *collect_features(loader, encoder, model.run.distributed))
            cells, reasons = _evaluate(features, model.num_classes, model.config.hardware.seed)
            rows.append([prefix + label, *cells])
            missing |= {prefix + reason: None for reason in reasons}
    if all(cell is None for _, *cells in rows for cell in cells):
        return [f"no table: {next(iter(missing))}"]
    table = Table(
        title=f"{model.run.folder.path.name}: {', '.join(model.run.loaders.evaluation)}",
        columns=["", *COLUMNS],
        rows=rows,
        notes=[
            f"Top-1 accuracy in percent after {model.progress.epoch} epochs; offline probes on frozen features, "
            f"up to {model.config.log.knn_samples:,} training images; mean ± deviation over {DRAWS} draws of the labels.",
            *(f"{NOTHING} {reason}" for reason in missing),
        ],
    )
    if model.run.distributed.is_main:
        write_atomically(model.run.folder.table, table.to_markdown())
        write_atomically(model.run.folder.table_json, json.dumps(table.to_dict(), indent=2) + "\n")
    return [table.to_text(), str(model.run.folder.table)]


def pixels(images: Tensor) -> Tensor:
    """Return the normalised pixels themselves, ``(N, C*H*W)``, at most 32 by 32 of them (averaged areas above)."""
    if max(images.shape[-2:]) > PIXELS:
        images = F.adaptive_avg_pool2d(images, PIXELS)
    return images.flatten(1)


def _untrained(model: Any) -> Callable[[Tensor], Tensor]:
    """Return the encoder before training: the same seed gives the same weights."""
    fresh = type(model)(model.config)
    fresh.use(model.run)
    fresh.build()
    fresh.eval()
    return fresh.features


def _evaluate(features: Features, num_classes: int, seed: int) -> tuple[list[object], list[str]]:
    """Return the table's cells for one encoder, None where one cannot be computed, and the reasons."""
    for part, labels in (("training", features.train_labels), ("test", features.test_labels)):
        if len(labels) == 0:
            return [None] * len(COLUMNS), [f"no {part} image has a label"]

    def nearest() -> object:
        scores = knn(features, k=min(20, len(features.train)), num_classes=num_classes)
        return accuracy(scores, features.test_labels, topk=(1,))[0]

    def few_labels() -> object:
        few = few_shot(features, labels_per_class=LABELS_PER_CLASS, draws=DRAWS, seed=seed)
        return {"mean": few.mean, "std": few.std, "n": DRAWS}

    cells: list[object] = []
    reasons = []
    for column, compute in zip(COLUMNS, (nearest, lambda: linear_probe(features).accuracy, few_labels)):
        try:
            cells.append(compute())
        except (ValueError, RuntimeError) as error:  # of the data, or out of memory
            cells.append(None)
            reasons.append(f"{column}: {' '.join(str(error).split())}")
    return cells, reasons
