"""Tables of an evaluation on changed images. No torch is imported."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from ssl_eval.metrics.registry import readable
from ssl_eval.report.table import Table


def robustness_tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table of the errors on each corruption for each classifier of a file of ``eval/``; none without corruptions.

    Examples
    --------
    >>> errors = {"severities": [1, 5], "clean": {"linear": 0.1}, "errors": {"linear": {"fog": [0.2, 0.4], "snow": [0.3, 0.6]}}}
    >>> print(robustness_tables({"dataset": "digits", "corruptions": errors})[0].to_text())
    digits: linear probe on corrupted images
    <BLANKLINE>
          severity 1     5  mean
    ────  ──────────  ────  ────
    fog         20.0  40.0  30.0
    snow        30.0  60.0  45.0
    mean        25.0  50.0  37.5
    <BLANKLINE>
    Top-1 error in percent; without corruption: 10.0.
    """
    found = document.get("corruptions")
    if found is None:
        return []
    tables = []
    for probe, errors in found["errors"].items():
        relative = found.get("corruption_errors", {}).get(probe, {})
        rows = [[name, *each, fmean(each), *([relative[name]] if relative else [])] for name, each in errors.items()]
        rows.append(["mean", *(fmean(column) for column in list(zip(*rows))[1:])])
        first, *others = found["severities"]
        columns = ["", f"severity {first}", *map(str, others), "mean", *(["CE"] if relative else [])]
        notes = [f"Top-1 error in percent; without corruption: {100 * found['clean'][probe]:.1f}."]
        if relative:
            notes.append(f"CE: sum of the errors over that of {found['reference']}; its mean is the mCE.")
        title = f"{document['dataset']}: {readable(probe)} on corrupted images"
        tables.append(Table(title, columns, rows, notes))
    return tables
