"""The report over runs: tables, figures and a page, in a folder that is never half written."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_eval.figures.style import NothingToDraw, paper, save
from ssl_eval.report.drawing import Drawing, slug
from ssl_eval.report.evaluation_tables import checkpoint_table, evaluation_table, protocols
from ssl_eval.report.html import Figure, page
from ssl_eval.report.latex import escape
from ssl_eval.report.run_figures import drawings
from ssl_eval.report.run_tables import every_run, final_tables, summary_table
from ssl_eval.report.table import Table
from ssl_eval.runs.run_record import RunRecord, find_runs_among
from ssl_eval.runs.seed_groups import group_runs
from ssl_eval.runs.wandb_import import as_folders, default_out

LATEX_HEAD = "% \\usepackage{booktabs} in the preamble.\n\n"
MANIFEST = ".files"  # the files of a report: the next one removes those that it does not write again


@dataclass
class Report:
    """Result of :func:`write_report`.

    Attributes
    ----------
    tables : list of Table
        The tables of the report.
    files : list of Path
        The files that were written.
    no_figure : str or None
        Why a figure is missing.
    left_out : list of str
        A sentence for each path that holds no run and for each run that cannot be read.
    """

    tables: list[Table]
    files: list[Path]
    no_figure: str | None
    left_out: list[str] = field(default_factory=list)


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> Report:
    """Compare all runs in and under ``folders``: tables, figures and a page.

    Finished runs that differ in the seed alone are one row, mean ± sample deviation; every run that has not finished is
    a separate row with its status. Columns are the keys that differ between the configurations (except seed, log and numbers
    of processes). The best value is bold only if the difference is significant, by the rule under the table.

    Parameters
    ----------
    folders : sequence of str or Path
        Run folders, or folders of them at any depth; ``wandb:entity/project`` for the runs of a project of wandb.
        Files are skipped.
    out : str or Path, optional
        Where to write ``table.md``, ``table.tex`` and ``table.csv``; ``evaluation_<protocol>.csv``,
        ``checkpoints_<protocol>.csv`` and ``final.csv`` (offline evaluations, those of several checkpoints of a run, and the
        tables of the ends of the runs, if there are any); each figure as png and pdf; ``figures.tex``
        with their captions; and ``index.html`` with everything in one file. By default ``report`` in the first folder, or in
        the current one if the first is a project of wandb.

    Returns
    -------
    Report

    Raises
    ------
    ImportError
        Without PyYAML, or without wandb if a project of wandb is named. (Without matplotlib there is no figure: ``no_figure``.)
    ValueError
        If a path does not exist, or there is no run that can be read. Nothing is written then. Other paths without a run,
        and damaged runs among others, are left out and named in :attr:`Report.left_out` and under the first table.
    OSError
        If ``out`` cannot be written.
    """
    out = default_out(folders) if out is None else Path(out)
    with as_folders(folders) as local:
        return _write(local, out)


def _write(folders: Sequence[Path], out: Path) -> Report:
    runs, skipped = find_runs_among(folders)
    records, damaged = _read(runs)
    groups, left_out = group_runs(records)
    table = summary_table(groups, left_out)
    table.notes = [*table.notes, *(f"Left out: {reason}." for reason in damaged)]
    offline = {protocol: evaluation_table(protocol, groups) for protocol in protocols(groups)}
    final = final_tables(groups)
    checkpoints = {p: found for p in offline if (found := checkpoint_table(p, groups)) is not None}
    tables = [table, *offline.values(), *checkpoints.values(), *final]
    texts = {
        "table.md": "\n".join(each.to_markdown() for each in tables),
        "table.tex": LATEX_HEAD + "\n".join(each.to_latex() for each in tables),
        "table.csv": table.to_csv(),
        **{f"evaluation_{slug(protocol.name)}.csv": each.to_csv() for protocol, each in offline.items()},
        **{f"checkpoints_{slug(protocol.name)}.csv": each.to_csv() for protocol, each in checkpoints.items()},
    }
    if final:
        texts["final.csv"] = "\n".join(each.to_csv() for each in final)
    figures = drawings(groups, list(offline))

    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    try:
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        drawn, no_figure = _draw(figures, temporary)
        if drawn:
            (temporary / "figures.tex").write_text(_figures_latex(drawn), encoding="utf-8")
        shown = [
            Figure(d.name + d.suffixes[-1], d.caption, (temporary / f"{d.name}.png").read_bytes(), d.dataset)
            for d in drawn
        ]
        (temporary / "index.html").write_text(
            page(records, tables, every_run(groups), shown, no_figure), encoding="utf-8"
        )
        return Report(tables, _replace(out, temporary), no_figure, skipped + damaged)
    except OSError as error:  # of a full disk it has no name of a file
        raise OSError(error.errno, error.strerror or str(error), str(out)) from error
    finally:
        shutil.rmtree(temporary)


def _read(runs: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Read the runs; return those that are whole, and a sentence for each of the others. One at least must be whole."""
    records, damaged = [], []
    for run in runs:
        try:
            record = RunRecord(run)
            record.check()
            records.append(record)
        except (ValueError, OSError) as error:
            damaged.append(" ".join(str(error).split()))
    if not records:
        raise ValueError(damaged[0])
    return records, damaged


def _draw(figures: Sequence[Drawing], folder: Path) -> tuple[list[Drawing], str | None]:
    """Write what can be drawn; return it, and why the first of the others cannot."""
    drawn, problem = [], None
    for drawing in figures:
        try:
            if isinstance(drawing.draw, Path):
                shutil.copyfile(drawing.draw, folder / f"{drawing.name}.png")
            else:
                with paper():
                    figure = drawing.draw()
                    for suffix in drawing.suffixes:
                        save(figure, folder / f"{drawing.name}{suffix}")
            drawn.append(drawing)
        except ImportError as error:
            return [], str(error)
        except NothingToDraw as error:
            problem = problem or str(error)
    return drawn, problem


def _figures_latex(drawn: Sequence[Drawing]) -> str:
    parts = ["% \\usepackage{graphicx} in the preamble.\n"]
    for drawing in drawn:
        parts.append(
            "\\begin{figure}\n  \\centering\n"
            f"  \\includegraphics[width=\\linewidth]{{{drawing.name}{drawing.suffixes[-1]}}}\n"
            f"  \\caption{{{escape(drawing.caption)}}}\n\\end{{figure}}\n"
        )
    return "\n".join(parts)


def _replace(out: Path, temporary: Path) -> list[Path]:
    """Move the files of a whole report to their place, remove those of an earlier one that do not belong to it."""
    manifest = out / MANIFEST
    before = manifest.read_text(encoding="utf-8").split("\n") if manifest.is_file() else []
    written = sorted(path.name for path in temporary.iterdir())
    (temporary / MANIFEST).write_text("\n".join(sorted({*written, *before})), encoding="utf-8")
    os.replace(
        temporary / MANIFEST, manifest
    )  # first, so that what is stopped half-way can be tidied by the next report
    for name in written:
        os.replace(temporary / name, out / name)
    for name in set(before) - set(written) - {""}:
        (out / Path(name).name).unlink(missing_ok=True)
    return [out / name for name in written]
