"""The figures of an offline protocol."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch

from ssl_eval.figures.calibration import reliability_figure
from ssl_eval.figures.class_bars import MAX_CLASSES, MAX_GROUPS, class_figure
from ssl_eval.figures.confusion import confusion_figure, worst_confusions
from ssl_eval.figures.curves import MAX_NAMED
from ssl_eval.figures.embedding import map_figure
from ssl_eval.figures.spectrum import spectrum_figure
from ssl_eval.metrics.calibration import Reliability
from ssl_eval.metrics.registry import main_accuracy
from ssl_eval.report.drawing import Drawing, counted, slug
from ssl_eval.runs.evaluation_record import EvaluationRecord

T = TypeVar("T")
MAX_PICTURED = 2  # settings whose pictures are shown, the best ones
PICTURES = {  # name of a picture -> caption; others are named
    "neighbours": "Test images and their nearest training images by the cosine of the features; green, solid frame: same class",
    "mistakes": "Wrong predictions of the linear probe with the highest probability: class, predicted class, probability",
    "attention": "Attention of the class token to the patches in the last block: mean and first heads, from low (dark) to high",
    "token_colors": "First three principal components of the patches of all these images, as red, green and blue",
    "reconstruction": "Image, visible patches, and prediction of the masked ones",
    "maps": "Images, their masks or depth maps, the predictions of the probes, and clusters of the patch tokens",
}


def protocol_figures(named: dict[str, list[EvaluationRecord]], protocol: str, suffix: str) -> Iterator[Drawing]:
    """Yield the figures for which the evaluations have data."""
    yield from _per_class(named, protocol, suffix)
    for label, found in _top(named, "confusion"):
        counts = torch.stack([e.confusion for e in found if e.confusion is not None]).sum(0)
        names = found[0].class_names
        worst = "; ".join(worst_confusions(counts, names))
        caption = (
            f"Confusion matrix{_of(label, named)}, {_runs(found)}{_one_of(named, 'confusion')}: rows are true classes, columns "
            f"predictions, on a colour scale of square roots. Most frequent errors: {worst or 'none'}. {protocol}"
        )
        yield Drawing(
            f"confusion_matrix{_name(label, named)}{suffix}",
            caption,
            lambda c=counts, n=names: confusion_figure(c, n),  # type: ignore[misc]
        )
    reliabilities = {counted(label, len(found)): _pooled(found) for label, found in _top(named, "reliability")}
    if reliabilities:
        caption = "Reliability diagram: accuracy against confidence; samples of all runs, bins with at least ten "
        caption += f"samples{_best(named, 'reliability')}. {protocol}"
        yield Drawing(f"reliability{suffix}", caption, lambda: reliability_figure(_unnamed(reliabilities)))
    spectra = {
        counted(label, len(found)): [e.spectrum for e in found if e.spectrum is not None]
        for label, found in _top(named, "spectrum")
    }
    if spectra:
        caption = (
            "Spectrum of the features: eigenvalues of their covariance divided by the largest; geometric mean and range of the "
            f"runs{_best(named, 'spectrum')}. {protocol}"
        )
        yield Drawing(f"spectrum{suffix}", caption, lambda: spectrum_figure(_unnamed(spectra)))
    for label, found in _top(named, "maps"):
        first = found[0]
        caption = (
            f"2-D projection of the features{_of(label, named)}, run {first.path.parent.parent.name}, "
            f"{len(first.map_labels):,} samples{_one_of(named, 'maps')}; colours are classes. {protocol}"
        )
        yield Drawing(
            f"embedding{_name(label, named)}{suffix}",
            caption,
            lambda e=first: map_figure(e.maps, e.map_labels, e.class_names),  # type: ignore[misc]
        )
    yield from _pictures(named, protocol, suffix)


def _pictures(named: dict[str, list[EvaluationRecord]], protocol: str, suffix: str) -> Iterator[Drawing]:
    """Yield the pictures of the first run of the best settings."""
    for label, found in _top(named, "pictures", MAX_PICTURED):
        for picture, file in found[0].pictures.items():
            caption = PICTURES.get(picture, picture.replace("_", " ").capitalize())
            run = found[0].path.parent.parent.name
            caption += f"{_of(label, named)}; run {run}{_best(named, 'pictures', MAX_PICTURED)}. {protocol}"
            yield Drawing(f"{slug(picture)}{_name(label, named)}{suffix}", caption, file)


def _per_class(named: dict[str, list[EvaluationRecord]], protocol: str, suffix: str) -> Iterator[Drawing]:
    top = _top(named, "per_class", MAX_GROUPS)
    if not top:
        return
    names = top[0][1][0].class_names
    bars = {
        counted(label, len(found)): torch.stack([e.per_class for e in found if e.per_class is not None])
        for label, found in top
    }
    caption = "Accuracy of each class"
    if any(len(values) > 1 for values in bars.values()):
        caption += ": mean and standard deviation of the runs"
    if len(names) > MAX_CLASSES:
        caption += f"; the {MAX_CLASSES // 2} lowest and the {MAX_CLASSES // 2} highest of {len(names)}"
    caption += _best(named, "per_class", MAX_GROUPS)
    yield Drawing(f"per_class{suffix}", f"{caption}. {protocol}", lambda: class_figure(names, _unnamed(bars)))


def _top(
    named: dict[str, list[EvaluationRecord]], part: str, most: int = MAX_NAMED
) -> list[tuple[str, list[EvaluationRecord]]]:
    """Return label and the evaluations that have a part, of the settings with the highest accuracies, in their order.

    Those with other classes than the first are omitted: they cannot be compared.
    """
    having = {label: [e for e in found if _has(e, part)] for label, found in named.items()}
    classes = next((e.class_names for found in having.values() for e in found), [])
    having = {label: [e for e in found if e.class_names == classes] for label, found in having.items()}
    having = {label: found for label, found in having.items() if found}

    def accuracy(label: str) -> float:
        values = [e.value(main_accuracy(e.metrics) or "") or 0.0 for e in having[label]]
        return sum(values) / len(values)

    best = sorted(having, key=accuracy, reverse=True)[:most]
    return [(label, found) for label, found in having.items() if label in best]


def _best(named: Mapping[str, Sequence[EvaluationRecord]], part: str, most: int = MAX_NAMED) -> str:
    """Return the note of a caption on omitted settings; empty if all are shown."""
    having = sum(any(_has(evaluation, part) for evaluation in found) for found in named.values())
    return f"; the {most} best of {having} settings" if having > most else ""


def _one_of(named: Mapping[str, Sequence[EvaluationRecord]], part: str) -> str:
    return _best(named, part).replace("; the ", ", one of the ")


def _has(evaluation: EvaluationRecord, part: str) -> bool:
    value = getattr(evaluation, part)
    return value is not None and len(value) > 0


def _pooled(found: Sequence[EvaluationRecord]) -> Reliability:
    """Return one diagram of the samples of several runs."""
    parts = [e.reliability for e in found if e.reliability is not None]
    parts = [part for part in parts if len(part[2]) == len(parts[0][2])]  # other bins cannot be added to these
    count = torch.stack([part[2] for part in parts]).sum(0)
    means = [torch.stack([part[i].nan_to_num() * part[2] for part in parts]).sum(0) / count for i in (0, 1)]
    return Reliability(means[0], means[1], count)


def _unnamed(named: dict[str, T]) -> dict[str, T]:
    """Return a single setting without its name."""
    return {"": next(iter(named.values()))} if len(named) == 1 else named


def _runs(found: Sequence[EvaluationRecord]) -> str:
    return f"{len(found)} runs together" if len(found) > 1 else "one run"


def _of(label: str, named: Mapping[str, object]) -> str:
    return f" of {label}" if len(named) > 1 else ""


def _name(label: str, named: Mapping[str, object]) -> str:
    return f"_{slug(label)}" if len(named) > 1 else ""
