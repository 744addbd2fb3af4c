"""The report over runs: what differs, what came out, how sure it is; as files, in a folder that is never half written."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_eval.curves import NothingToDraw, learning_curves
from ssl_eval.groups import RunGroup, group_runs, short_names
from ssl_eval.run_record import RunRecord, find_runs
from ssl_eval.run_tables import final_tables, summary_table
from ssl_eval.table import Table

FIGURES = ("learning_curves.png", "learning_curves.pdf")


@dataclass
class Report:
    """What :func:`write_report` made: the tables, the files that it wrote, and why a figure is missing, if it is."""

    tables: list[Table]
    files: list[Path]
    no_figure: str | None


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> Report:
    """Compare all runs in and under ``folders``: tables and learning curves.

    Finished runs that differ in the seed alone are one row, mean ± sample deviation; every run that has not finished is
    a row of its own with its status. Columns are what differs between the configurations (seed, log and numbers of
    processes aside).

    Parameters
    ----------
    folders : sequence of str or Path
        Run folders, or folders of them at any depth.
    out : str or Path, optional
        Where to write ``table.md``, ``table.csv``, ``final.csv`` (the tables of the ends of the runs, if they have any)
        and ``learning_curves.png`` and ``.pdf``; by default ``report`` in the first folder.

    Returns
    -------
    Report

    Raises
    ------
    ImportError
        Without PyYAML. (Without matplotlib there is no figure, and the result says so.)
    ValueError
        If a folder is none or holds no run, or a run is damaged. Nothing is written then.
    OSError
        If ``out`` cannot be written.
    """
    records = [RunRecord(run) for run in find_runs(folders)]
    groups, left_out = group_runs(records)
    table = summary_table(groups, left_out)
    final = final_tables(groups)
    texts = {"table.md": "\n".join(t.to_markdown() for t in (table, *final)), "table.csv": table.to_csv()}
    if final:
        texts["final.csv"] = "\n".join(t.to_csv() for t in final)

    out = Path(folders[0]) / "report" if out is None else Path(out)
    out.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    no_figure = None
    try:
        for name, text in texts.items():
            (beside / name).write_text(text, encoding="utf-8")
        try:
            for name in FIGURES:
                learning_curves(_curves(groups), beside / name)
        except (ImportError, NothingToDraw) as error:
            no_figure = str(error)
        written = sorted(path.name for path in beside.iterdir())
        for name in written:
            os.replace(beside / name, out / name)
        for name in {"final.csv", *FIGURES} - set(written):  # of an earlier report: it would not belong to this one
            (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(beside)
    return Report([table, *final], [out / name for name in written], no_figure)


def _curves(groups: Sequence[RunGroup]) -> dict[str, list[RunRecord]]:
    """Return the groups under what differs, or under their names where nothing does."""
    short = short_names(list(groups[0].settings))
    curves = {}
    for group in groups:
        parts = [f"{short[key]} {value}" for key, value in group.settings.items()] or [group.label]
        if not group.finished:
            parts += [group.label] * bool(group.settings)
            parts[-1] += f" ({group.records[0].status})"
        elif len(group.records) > 1:
            parts[-1] += f" (n={len(group.records)})"
        curves[", ".join(parts)] = group.records
    return curves
