"""A picture of views: a row for each sample, a column for the stored sample and for each of its views."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_data.augment.functions import described
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.errors import ArgumentError
from ssl_data.inspection.draw_sheet import Column, draw_sheet
from ssl_data.inspection.panels import Limits, described_limits, limits_of, to_panel
from ssl_data.inspection.parameters import parameter_lines
from ssl_data.loader import Loader
from ssl_data.sources.adapters.samples import GivesSamples
from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.derived.subset import Subset
from ssl_data.sources.source import Source, value_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
_BATCH_SIZE = "optim.batch_size"  # argument of the error for more rows than samples


@dataclass(frozen=True)
class ContactSheet:
    """A picture of views. A notebook shows it; :meth:`save` writes it."""

    figure: "Figure"

    def save(self, file: str | Path) -> Path:
        """Write the picture (PNG, PDF, SVG, by the extension) and return its path; folders are created."""
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(path, dpi=DPI)
        return path

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, dpi=DPI / 2, format="png")
        return buffer.getvalue()


def show_views(
    data: Any, rows: int = 6, bands: Sequence[int] | None = None, seed: int = 0, title: str = ""
) -> ContactSheet:
    """Draw the views of the first samples of a run's first epoch, with the parameters of each view below it.

    Views are drawn before their normalisation. A view of a function is drawn as the function returns it: ``(C, H, W)`` and
    ``(H, W)`` as an image, ``(channels, length)`` as lines, ``(F,)`` as bars or a line, of a volume the middle slice.

    Parameters
    ----------
    data : DataConfig or Loader
        A configuration, or any object with ``open(batch_size, seed, rank, world_size)``; or a loader, whose position
        does not move.
    rows : int
        Number of samples.
    bands : sequence of int, optional
        Which bands of an image are drawn, one or three, counted from 0: ``[3, 2, 1]`` are the true colours of Sentinel-2.
        Default: the first three.
    seed : int
        Seed of the run.
    title : str
        Title above the columns.

    Returns
    -------
    ContactSheet
        Shown by a notebook; ``show_views(data).save("views.png")`` writes it.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        For data that cannot be opened, a sample whose views cannot be made, or a band that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import DataConfig, show_views
    >>> data = DataConfig.of(train=(np.zeros((8, 16, 16, 3), np.uint8), [0, 1] * 4), views="simclr")
    >>> show_views(data, rows=2).save("views.png").name  # doctest: +SKIP
    'views.png'
    """
    if rows < 1:
        raise ArgumentError("rows", rows, "expected at least 1")
    if not isinstance(data, Loader) and not hasattr(data, "open"):
        raise ArgumentError(
            "data", type(data).__name__, "expected a DataConfig or a Loader, e.g. DataConfig.of(train=..., views=...)"
        )
    loader = data if isinstance(data, Loader) else _opened(data, rows, seed)
    names = list(getattr(getattr(loader, "source", loader), "class_names", None) or ())
    columns, labels, ids = _columns(loader, rows, bands)
    headings = [_heading(int(index), int(label), names) for index, label in zip(ids, labels)]
    return ContactSheet(draw_sheet(columns, headings, title))


def _opened(data: Any, rows: int, seed: int) -> Any:
    try:
        return data.open(rows, seed, 0, 1).train
    except ArgumentError as error:
        if error.argument != _BATCH_SIZE:
            raise
    return data.open(1, seed, 0, 1).train  # there are fewer samples than rows


def _heading(index: int, label: int, names: list[str]) -> str:
    name = str(names[label]) if 0 <= label < len(names) else str(label)
    name = f"class {name}" if name.isdecimal() else name
    return f"sample {index}\n{name if label >= 0 else 'no label'}"


def _columns(loader: Any, rows: int, bands: Sequence[int] | None) -> tuple[list[Column], Any, Any]:
    """Return the columns, labels and ids."""
    if not isinstance(loader, Loader):  # of a stream, or of the user
        views, labels, ids = next(iter(loader))[:3]
        views = [view[:rows] for view in (views if isinstance(views, list | tuple) else [views])]
        specs = getattr(loader, "views", [])
        if len(specs) == len(views) and all(isinstance(spec, ViewSpec) for spec in specs):
            return _engine_columns(None, specs, views, ids[:rows], bands), labels[:rows], ids[:rows]
        titles = _function_titles(specs, len(views)) if specs and all(map(callable, specs)) else _numbered(views)
        return _plain_columns(views, titles, bands), labels[:rows], ids[:rows]
    source = loader.source if loader._positions is None else Subset(loader.source, loader._positions)
    are_functions = any(map(callable, loader.views))
    first = partial(
        _first_batch, source, count=min(rows, len(source)), shuffle=loader.shuffle, seed=loader.seed,
        num_workers=0 if are_functions else 1,
    )  # fmt: skip
    if are_functions:
        samples: list[Any] = []  # which the functions get: a data set may transform them at random
        (*views, _), labels, ids = first([*loader.views, partial(_keep, samples)])
        columns = _plain_columns(views, _function_titles(loader.views, len(views)), bands)
        columns.insert(0, _stored_column(source, ids, bands, samples))
    else:
        views, labels, ids, parameters = first(loader.views, return_parameters=True)
        columns = _engine_columns(source, loader.views, views, ids, bands)
        columns = [replace(column, texts=_parameters(drawn)) for column, drawn in zip(columns, parameters)]
        columns.insert(0, _stored_column(source, ids, bands))
    if loader.batch_transform is not None:
        changed = first(loader.views, batch_transform=loader.batch_transform)[0]
        name = f"after {short_name(loader.batch_transform)} of these {len(ids)}"
        if are_functions or len(changed) != len(loader.views):
            columns += _plain_columns(changed, [f"{title}\n{name}" for title in _numbered(changed)], bands)
        else:
            made = _engine_columns(source, loader.views, changed, ids, bands)
            columns += [replace(column, title=f"{column.title}\n{name}") for column in made]
    return columns, labels, ids


def _first_batch(
    source: Source, views: Sequence[Any], count: int, shuffle: bool, seed: int, num_workers: int, **options: Any
) -> Batch:
    loader = Loader(source, views, count, shuffle, seed, rank=0, world_size=1, num_workers=num_workers, **options)
    return next(iter(loader))


def _keep(samples: list[Any], sample: Any) -> Tensor:
    """Keep a sample; as a view it is one number."""
    samples.append(sample)
    return torch.zeros(1)


def _stored_column(
    source: Source, ids: Tensor, bands: Sequence[int] | None, samples: Sequence[Any] | None = None
) -> Column:
    """Return the column of the stored images; of a source without images that of its ``samples``."""
    positions = np.array([np.flatnonzero(source.ids == index)[0] for index in ids.tolist()])
    while isinstance(source, Derived):
        source, positions = source.origin(positions)
    are_images = samples is None or not isinstance(source, GivesSamples)
    stored = [source.image(position) for position in positions.tolist()] if are_images else list(samples or [])
    panels = [to_panel(each, bands, channels_last=are_images) for each in stored]
    limits = [limits_of([panel]) for panel in panels]
    texts = [
        list(filter(None, [_size(each, are_images), described_limits(limit) if limit else ""]))
        for each, limit in zip(stored, limits)
    ]
    return Column("\n".join(filter(None, ["stored", panels[0].note])), panels, texts, limits)


def _size(sample: Any, channels_last: bool) -> str:
    if channels_last:
        height, width, bands = sample.shape
        return f"{width} x {height}, {bands} band{'s' * (bands != 1)}, {sample.dtype}"
    if isinstance(sample, Image.Image):
        return f"{sample.width} x {sample.height}, {sample.mode}"
    if isinstance(sample, Tensor | np.ndarray):
        return f"{tuple(sample.shape)} {str(sample.dtype).removeprefix('torch.')}"
    return described(sample)


def _engine_columns(
    source: Source | None, specs: Sequence[ViewSpec], views: list[Tensor], ids: Tensor, bands: Sequence[int] | None
) -> list[Column]:
    """Return the columns of views ``(n, C, size, size)`` without their normalisation; without a source black is 0, white 1."""
    columns = []
    for number, (view, spec) in enumerate(zip(views, specs)):
        mean, std = (view.new_tensor(each)[:, None, None] for each in (spec.mean, spec.std))
        panels = [to_panel(each.float() * std + mean, bands) for each in view]
        note = f"\n{panels[0].note}" if panels[0].note else ""
        limits = [_view_limits(source, index, bands) for index in ids.tolist()]
        columns.append(Column(f"view {number} ({spec.size} px){note}", panels, [[] for _ in panels], limits))
    return columns


def _view_limits(source: Source | None, index: int, bands: Sequence[int] | None) -> Limits | None:
    """Return the limits of the views of an image: those of the stored image, in the units of a view."""
    if source is None:
        return np.zeros(3), np.ones(3)
    image = source.image(int(np.flatnonzero(source.ids == index)[0]))
    limits = limits_of([to_panel(image, bands, channels_last=True)])
    low, high = value_range(source, image.dtype)
    return None if limits is None else ((limits[0] - low) / (high - low), (limits[1] - low) / (high - low))


def _plain_columns(views: list[Tensor], titles: list[str], bands: Sequence[int] | None) -> list[Column]:
    """Return the columns of views as they are."""
    columns = []
    for view, title in zip(views, titles):
        panels = [to_panel(each, bands) for each in view]
        limits = limits_of(panels)
        notes = [f"{tuple(view.shape[1:])}", panels[0].note, described_limits(limits) if limits else ""]
        texts = [[f"{each.min():.3g} to {each.max():.3g}"] if each.numel() else [] for each in view]
        columns.append(Column("\n".join([title, *filter(None, notes)]), panels, texts, [limits] * len(panels)))
    return columns


def _numbered(views: Sequence[Any]) -> list[str]:
    return [f"view {number}" for number in range(len(views))]


def _function_titles(functions: Sequence[Any], count: int) -> list[str]:
    """Return a title for each view; a function may return several, and then only one function is a name for all."""
    named = list(functions) if len(functions) == count else list(functions) * (count if len(functions) == 1 else 0)
    return [
        f"view {number}" + (f"\n{short_name(named[number])}" if number < len(named) else "") for number in range(count)
    ]


def short_name(function: Any) -> str:
    """Return the name of a function for a title; of a pipeline the names of its transforms."""
    while isinstance(function, partial):
        function = function.func
    steps = getattr(function, "transforms", None)
    if isinstance(steps, list | tuple) and steps:
        return ", ".join(type(step).__name__ for step in steps)
    return getattr(function, "__name__", None) or type(function).__name__


def _parameters(columns: dict[str, Tensor]) -> list[list[str]]:
    """Return the lines below each view."""
    count = len(columns["top"])
    rows = [{name: column[row].tolist() for name, column in columns.items()} for row in range(count)]
    return [parameter_lines(row) for row in rows]
