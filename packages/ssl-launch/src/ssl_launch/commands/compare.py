"""Compare: the similarity of representations of the same images by runs, checkpoints and layers."""

import glob
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_core.distributed.launch_environment import check_one_process
from ssl_core.errors import ConfigError, RunError
from ssl_core.run.atomic_file import check_writable, translate_disk_errors, write_atomically
from ssl_core.run.environment import versions
from ssl_core.run.folder import RunFolder
from ssl_core.run.source_location import class_of_run
from ssl_eval.report.table import Table
from ssl_launch.commands.other_images import openers

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_core.evaluation.layers import ImageSet, Representation

MEASURES = ("linear_cka", "debiased_cka", "mutual_knn", "procrustes")
DEFAULT_MEASURES = ("linear_cka", "mutual_knn", "procrustes")


@dataclass(frozen=True)
class Compared:
    """What is compared with what, and how; the options of ``stable-ssl compare``."""

    checkpoints: str = "newest"  # of each run: newest, all, or the number of a step
    layers: int = 0  # the last n blocks or stages of the backbone; 0: its output only
    measures: Sequence[str] = DEFAULT_MEASURES
    images: str | None = None  # of another data set, by name or folder; None: the first run's evaluation images
    samples: int = 2000  # images at most
    device: str = "auto"


def compare(words: Sequence[str], asked: Compared, out: str | None = None) -> list[Path]:
    """Embed the same images by each checkpoint and layer, and write the matrices of their similarities.

    Parameters
    ----------
    words : sequence of str
        Runs, quoted patterns of runs, and files of checkpoints.
    asked : Compared
        The options.
    out : str, optional
        Folder of the files. Default: ``compare`` in the first run.

    Returns
    -------
    list of Path
        ``similarity.json``, and of each measure ``<measure>.png`` and ``<measure>.pdf``.

    Raises
    ------
    ConfigError, RunError
        For a word that is no run, a checkpoint that does not exist, runs with other images, fewer than two representations, or
        representations that cannot be compared. Nothing is written then.
    DiskError
        If a file cannot be written.
    """
    check_one_process("a comparison")
    if out and not Path(out).is_dir() and os.path.lexists(out):
        raise ConfigError(key="out", value=out, expected="a folder; this is a file")
    chosen = [each for word in words for each in _chosen(word, asked.checkpoints)]
    folder = Path(out) if out else chosen[0][0].path / "compare"
    check_writable(folder)
    from ssl_core.evaluation.layers import extract_representations  # imports torch
    from ssl_eval import similarity_matrix

    found: list[tuple[RunFolder, Representation]] = []
    first: ImageSet | None = None
    for run, checkpoints in chosen:
        summary = run.read_summary()
        method, data = (class_of_run(what, None, summary, run.path) for what in ("method", "data"))
        images = next(iter(openers(asked.images, "images", run).items())) if asked.images else None
        made, shown = extract_representations(
            run, checkpoints, asked.layers, asked.samples, images, method, data, asked.device
        )
        first = first or shown
        if shown != first:
            raise ConfigError(
                f"'{run.path}' has other evaluation images than '{chosen[0][0].path}' ({shown.count:,} of {shown.dataset!r}, "
                f"not {first.count:,} of {first.dataset!r}); name those that all shall see, e.g. --images FOLDER"
            )
        found += [(run, each) for each in made]
    if len(found) < 2:
        raise ConfigError(
            "there is one representation only; name another run, or several of this run: --checkpoints all, --layers 4"
        )
    assert first is not None
    labels = _labels(found)
    try:
        matrices = {
            measure: similarity_matrix([each.features for _, each in found], measure=measure)
            for measure in asked.measures
        }
    except ValueError as error:
        raise RunError(f"the representations cannot be compared: {error}") from error
    for measure, matrix in matrices.items():
        print(_table(measure, labels, matrix).to_text(), end="\n\n")
    return _write(folder, asked, first, found, labels, matrices)


def _chosen(word: str, which: str) -> list[tuple[RunFolder, list[Path]]]:
    """Return runs and their checkpoints."""
    from ssl_core.checkpoint.store import CheckpointStore  # imports torch

    if word.endswith(".pt"):
        if not Path(word).is_file():
            raise ConfigError(f"{word!r}: this checkpoint does not exist")
        return [(RunFolder(Path(word).parent.parent), [Path(word)])]
    folders = sorted(glob.glob(word)) if glob.has_magic(word) and not Path(word).exists() else [word]
    runs = [RunFolder(each) for each in folders if len(folders) == 1 or RunFolder(each).config.exists()]
    if not runs:
        raise ConfigError(f"{word!r}: no run matches this pattern")
    found = []
    for run in runs:
        store = CheckpointStore(run.checkpoints)
        every = store.by_step()
        if which == "newest":
            kept = [store.newest()]
        elif which == "all":
            kept = list(every.values())
        elif which.isdigit() and int(which) in every:
            kept = [every[int(which)]]
        else:
            expected = ", ".join(["newest", "all", *map(str, sorted(every))])
            raise ConfigError(f"'{run.path}' has no such checkpoint", key="checkpoints", value=which, expected=expected)
        found.append((run, sorted(kept)))
    return found


def _labels(found: "Sequence[tuple[RunFolder, Representation]]") -> list[str]:
    """Name each representation by those of its run, step and layer that differ between them."""
    runs = [run.path.resolve() for run, _ in found]
    several = {name for name in {path.name for path in runs} if len({path for path in runs if path.name == name}) > 1}
    names = [f"{path.parent.name}/{path.name}" if path.name in several else path.name for path in runs]
    steps = [f"step {each.step}" for _, each in found]
    checkpoints = [(path, each.step) for path, (_, each) in zip(runs, found)]
    parts = [
        names if len(set(runs)) > 1 or len(set(checkpoints)) == len({each.layer for _, each in found}) == 1 else None,
        steps if len(set(checkpoints)) > len(set(runs)) else None,
        [each.layer for _, each in found],
    ]
    return [", ".join(filter(None, row)) for row in zip(*(part for part in parts if part is not None))]


def _table(measure: str, labels: Sequence[str], matrix: "Tensor") -> Table:
    from ssl_eval.figures.similarity import LABELS

    rows: list[list[Any]] = [[label, *(f"{value:.3f}" for value in row)] for label, row in zip(labels, matrix.tolist())]
    return Table(LABELS[measure], ["", *labels], rows)


def _write(
    folder: Path, asked: Compared, images: "ImageSet", found: Any, labels: Sequence[str], matrices: "dict[str, Tensor]"
) -> list[Path]:
    from ssl_eval.figures.similarity import similarity_figure
    from ssl_eval.figures.style import SUFFIXES, paper, save

    document = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions(),
        "images": {"dataset": images.dataset, "count": images.count, "digest": images.digest},
        "representations": [
            {"label": label, "run": str(run.path), "checkpoint": each.checkpoint.name, "step": each.step,
             "layer": each.layer or "output", "width": each.features.shape[1]}
            for label, (run, each) in zip(labels, found)
        ],
        "similarity": {measure: matrix.tolist() for measure, matrix in matrices.items()},
    }  # fmt: skip
    files = [folder / "similarity.json"]
    runs = list(dict.fromkeys(run.path.resolve().name for run, _ in found))
    title = f"{runs[0]}, {images.count:,} images" if len(runs) == 1 else f"{images.count:,} images of {images.dataset}"
    with translate_disk_errors(folder, 0), paper():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(files[0], json.dumps(document, allow_nan=False) + "\n")
        for measure, matrix in matrices.items():
            figure = similarity_figure(matrix, labels, measure, title)
            for suffix in SUFFIXES:
                files.append(folder / f"{measure}{suffix}")
                save(figure, files[-1])
    return files
