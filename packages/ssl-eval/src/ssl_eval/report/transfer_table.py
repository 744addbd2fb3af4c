"""Table of a linear evaluation on other data sets. No torch is imported."""

from collections.abc import Mapping
from typing import Any

from ssl_eval.report.table import Table

METRIC_NAMES = {"accuracy": "top-1", "mean_per_class": "mean per class", "voc_map": "11-point mAP"}


def transfer_table(document: Mapping[str, Any]) -> Table:
    """Return data set, metric and value of each data set of a file of ``eval/``, and the mean.

    Examples
    --------
    >>> pets = {"metric": "mean_per_class", "value": 0.8, "classes": 37, "train_images": 3680, "test_images": 3669}
    >>> found = {"protocol": "transfer", "backbone": "resnet50", "step": 9, "metrics": {"transfer_mean": 0.8}}
    >>> found |= {"transfer": {"OxfordIIITPet": pets}, "omitted": {"transfer_DTD": "not there"}}
    >>> print(transfer_table(found).to_text())
    transfer protocol, step 9
    <BLANKLINE>
                   classes  training images  test images  metric          resnet50
    ─────────────  ───────  ───────────────  ───────────  ──────────────  ────────
    OxfordIIITPet       37             3680         3669  mean per class      80.0
    mean                 –                –            –  –                   80.0
    <BLANKLINE>
    Linear probe on frozen features, in percent. The mean is over 1 of 2 data sets.
    <BLANKLINE>
    skipped: DTD (not there)
    """
    rows: list[list[Any]] = [
        [
            name,
            *(each[key] for key in ("classes", "train_images", "test_images")),
            METRIC_NAMES[each["metric"]],
            each["value"],
        ]
        for name, each in document["transfer"].items()
    ]
    omitted = document.get("omitted", {})
    rows.append(["mean", None, None, None, None, document["metrics"]["transfer_mean"]])
    total = len(document["transfer"]) + len(omitted)
    notes = [
        f"Linear probe on frozen features, in percent. The mean is over {len(rows) - 1} of {total} data sets.",
        *(f"skipped: {name.removeprefix('transfer_')} ({reason})" for name, reason in omitted.items()),
    ]
    columns = ["", "classes", "training images", "test images", "metric", document["backbone"]]
    return Table(f"{document['protocol']} protocol, step {document['step']}", columns, rows, notes)
