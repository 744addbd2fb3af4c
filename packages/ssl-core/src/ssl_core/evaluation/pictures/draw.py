"""Pictures of an evaluation: neighbours, mistakes, attention, patch tokens and reconstructions, of images of the run's data."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ssl_core.base_model import BaseModel
from ssl_core.batch import Batch
from ssl_core.evaluation.pictures.attention import class_attention, has_attention
from ssl_core.evaluation.pictures.display import Display
from ssl_core.evaluation.pictures.images_by_row import Images, images_by_row
from ssl_core.training.checks.method import representation_widths
from ssl_eval import EvaluationResult, Features, token_colors
from ssl_eval.figures.images.attention import attention_figure
from ssl_eval.figures.images.mistakes import mistakes_figure
from ssl_eval.figures.images.neighbours import neighbours_figure
from ssl_eval.figures.images.reconstruction import reconstruction_figure
from ssl_eval.figures.images.token_colors import token_colors_figure
from ssl_eval.figures.style import paper, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of images that cannot be read, methods of users, memory, a missing package, a full disk
FAILURES = (ImportError, ValueError, RuntimeError, TypeError, OSError)
LEAST_PATCHES = 4  # on a side of a feature map that is drawn


@torch.no_grad()
def draw_pictures(
    model: BaseModel, dataset: str, features: Features, result: EvaluationResult, stem: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Draw the pictures for which there are data, and write ``<stem>_<picture>.png``.

    ``neighbours`` and ``mistakes`` show the rows that the evaluation has found. ``attention`` is drawn of vision transformers,
    ``token_colors`` of backbones with a feature map of 4 by 4 at least, ``reconstruction`` of methods with
    ``reconstruct_pixels``; they show the queries of ``neighbours``, or else the first test images.

    Parameters
    ----------
    model : BaseModel
        From :func:`ssl_core.evaluation.opened_model.opened_model`.
    dataset : str
        Name of the evaluation set.
    features, result
        Its features, and their evaluation by a protocol with ``pictures`` above 0.
    stem : Path
        Where to write, without ``_<picture>.png``.

    Returns
    -------
    written, omitted : dict
        Picture -> its file; picture -> why it is missing. What cannot be drawn costs no evaluation.
    """
    if len(model.image_shape) != 3:
        return {}, {"pictures": f"samples of shape {tuple(model.image_shape)} are not images (C, H, W)"}
    try:
        pictures = _pictures(model, dataset, features, result)
    except FAILURES as error:
        return {}, {"pictures": _in_one_line(error)}
    return draw_each(pictures, stem)


def draw_each(
    pictures: Mapping[str, Callable[[], "Figure | None"]], stem: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Draw pictures, and write ``<stem>_<picture>.png``; return their files, and why others are missing, as above."""
    written: dict[str, Path] = {}
    omitted: dict[str, str] = {}
    for picture, draw in pictures.items():
        file = stem.with_name(f"{stem.name}_{picture}.png")
        try:
            with paper():
                figure = draw()
                if figure is not None:
                    save(figure, file)
                    written[picture] = file
        except FAILURES as error:
            omitted[picture] = _in_one_line(error)
    return written, omitted


def _pictures(
    model: Any, dataset: str, features: Features, result: EvaluationResult
) -> dict[str, Callable[[], "Figure | None"]]:
    """Return the name of each picture, and a function that draws it; None where the model has nothing to show."""
    loader, found = model.run.loaders.evaluation[dataset], result.neighbours
    backbone, names = getattr(model, "backbone", None), features.class_names
    count = min(result.settings["pictures"], len(features.test))
    queries = images_by_row(loader, found["queries"] if found else range(count))
    display = Display.of(queries.images, *(getattr(model.run.loaders, name, ()) for name in ("mean", "std")))
    drawn: dict[str, Callable[[], Figure | None]] = {}
    if found:
        drawn["neighbours"] = partial(_neighbours, model, queries, found["rows"], display, names)
    if result.mistakes and result.mistakes["rows"]:
        drawn["mistakes"] = partial(_mistakes, loader, result.mistakes, display, names)
    if has_attention(backbone):
        drawn["attention"] = partial(_attention, model, queries, display)
    if hasattr(backbone, "forward_dense"):
        drawn["token_colors"] = partial(_token_colors, model, queries, display)
    if hasattr(model, "reconstruct_pixels"):
        drawn["reconstruction"] = partial(_reconstruction, model, queries, display)
    return drawn


def _neighbours(model: Any, queries: Images, rows: list[list[int]], display: Display, names: Sequence[str]) -> "Figure":
    found = images_by_row(model.run.loaders.reference, [row for each in rows for row in each])
    shape = len(rows), len(rows[0])
    images = display(found.images).unflatten(0, shape)
    return neighbours_figure(display(queries.images), images, queries.labels, found.labels.view(shape), names)


def _mistakes(loader: Any, mistakes: dict[str, list[Any]], display: Display, names: Sequence[str]) -> "Figure":
    found = images_by_row(loader, mistakes["rows"])
    return mistakes_figure(display(found.images), found.labels, mistakes["predicted"], mistakes["confidence"], names)


def _attention(model: Any, queries: Images, display: Display) -> "Figure":
    batch = _on_device(model, queries)
    with model.run.precision.autocast():
        attention = class_attention(model.backbone, batch.views[0])
    return attention_figure(display(queries.images), attention.cpu())


def _token_colors(model: Any, queries: Images, display: Display) -> "Figure | None":
    batch = _on_device(model, queries)
    with model.run.precision.autocast():
        _, tokens = model.backbone.forward_dense(batch.views[0])  # (N, D, h, w)
    if min(tokens.shape[2:]) < LEAST_PATCHES or tokens.shape[1] < 3:
        return None
    return token_colors_figure(display(queries.images), token_colors(tokens.permute(0, 2, 3, 1).float().cpu()))


def _reconstruction(model: Any, queries: Images, display: Display) -> "Figure | None":
    if not hasattr(model.run, "widths"):
        model.run.widths = representation_widths(model)
        model.initialize_probes()
    model.seed_everything()  # the same mask in each evaluation
    model.data = _on_device(model, queries)
    with model.run.precision.autocast():
        found = model.reconstruct_pixels()
    if found is None:
        return None
    return reconstruction_figure(display(found.images), found.mask.cpu(), display(found.pixels))


def _on_device(model: Any, images: Images) -> Batch:
    device, dtype = model.run.distributed.device, model.run.precision.dtype
    return Batch([images.images.to(device, dtype)], images.labels.to(device), images.ids.to(device))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
