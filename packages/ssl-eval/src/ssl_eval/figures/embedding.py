"""Figure of a 2D projection: each sample is a point, each class a colour and a marker."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import CLASS_COLORS, COLUMN_INCHES, MARKERS, class_name, legend_above, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAMES = 30  # classes of a legend
MAX_LETTERS = 40  # of a name
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def map_figure(maps: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> "Figure":
    """Return the projections side by side.

    Up to thirty classes have a legend. The eleventh class has the colour of the first, with another marker.

    Parameters
    ----------
    maps : mapping of str to Tensor
        ``pca``, ``tsne``, ... -> ``(N, 2)``.
    labels : Tensor
        ``(N,)`` integer.
    names : sequence of str
        Names of the classes; a class without a name is labelled by its number.
    """
    from matplotlib.figure import Figure

    columns = len(maps)
    figure = Figure((COLUMN_INCHES * max(1, min(2, columns)), 2.6 if columns > 1 else 3.0), layout="constrained")
    classes = labels.unique().tolist()
    texts = [shortened(class_name(label, names), MAX_LETTERS) for label in classes]
    if len(set(texts)) < len(texts):  # two classes would share an entry of the legend
        texts = [shortened(f"{label}: {text}", MAX_LETTERS) for label, text in zip(classes, texts)]
    handles = {}
    for ax, (kind, places) in zip(figure.subplots(1, columns, squeeze=False).flatten(), maps.items()):
        for number, label in enumerate(classes):
            points = places[labels == label]
            handles[texts[number]] = ax.scatter(
                points[:, 0].tolist(),
                points[:, 1].tolist(),
                s=5,
                color=CLASS_COLORS[number % len(CLASS_COLORS)],
                marker=MARKERS[number % len(MARKERS)],
                alpha=0.8,
                linewidths=0,
                rasterized=True,  # a PDF with ten thousand markers opens slowly
            )
        ax.set_title(TITLES.get(kind, kind))
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color("#C0C0C0")
    if len(classes) <= MAX_NAMES:
        legend_above(figure, handles, figure.get_figwidth())
    return figure
