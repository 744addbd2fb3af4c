"""Figure of a 2D projection: each sample is a point, each class a colour and a marker."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import CLASS_COLORS, COLUMN_INCHES, MARKERS, legend_above

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAMES = 20  # classes; with more, the names would cover the points
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def map_figure(maps: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> "Figure":
    """Return the projections side by side.

    Up to ten classes have a legend; up to twenty have their names in place, where those of near classes may overlap.

    Parameters
    ----------
    maps : mapping of str to Tensor
        ``pca``, ``tsne``, ... -> ``(N, 2)``.
    labels : Tensor
        ``(N,)`` integer.
    names : sequence of str
        Of the classes; a class beyond its length is labelled by its number.
    """
    import matplotlib.patheffects as effects
    from matplotlib.figure import Figure

    columns = len(maps)
    figure = Figure((COLUMN_INCHES * max(1, min(2, columns)), 2.6 if columns > 1 else 3.0), layout="constrained")
    classes = labels.unique().tolist()
    handles = {}
    halo = [effects.withStroke(linewidth=1.8, foreground="white")]
    for ax, (kind, places) in zip(figure.subplots(1, columns, squeeze=False).flatten(), maps.items()):
        for number, label in enumerate(classes):
            points = places[labels == label]
            handles[_name(label, names)] = ax.scatter(
                points[:, 0].tolist(),
                points[:, 1].tolist(),
                s=5,
                color=CLASS_COLORS[number % len(CLASS_COLORS)],
                marker=MARKERS[number % len(MARKERS)],
                alpha=0.8,
                linewidths=0,
                rasterized=True,  # a PDF with ten thousand markers opens slowly
            )
        if len(CLASS_COLORS) < len(classes) <= MAX_NAMES:
            for label in classes:
                x, y = places[labels == label].median(0).values.tolist()
                ax.text(
                    x, y, _name(label, names), fontsize=7, weight="bold", ha="center", va="center", path_effects=halo
                )
        ax.set_title(TITLES.get(kind, kind))
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color("#C0C0C0")
    if len(classes) <= len(CLASS_COLORS):
        legend_above(figure, handles, figure.get_figwidth())
    return figure


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else str(label)
