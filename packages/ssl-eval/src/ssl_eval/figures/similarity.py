"""Figure of a matrix of similarities between representations, with its numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import COLUMN_INCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL_INCHES = 0.25  # of one number
MAX_NUMBERS = 40  # rows up to which each cell has its number
MAX_LETTERS = 32  # of a label
LABELS = {
    "linear_cka": "linear CKA",
    "debiased_cka": "debiased linear CKA",
    "mutual_knn": "mutual kNN",
    "procrustes": "Procrustes similarity",
}


def similarity_figure(matrix: Tensor, labels: Sequence[str], measure: str = "linear_cka", title: str = "") -> "Figure":
    """Return a matrix of similarities as an image; each cell has its number, up to 40 rows.

    The figure has the width of a column of a paper, and grows where the numbers need more.

    Parameters
    ----------
    matrix : Tensor
        ``(n, n)``, as :func:`ssl_eval.similarity_matrix` returns it: 1 for equal representations.
    labels : sequence of str
        n names.
    measure : str
        Measure of :func:`ssl_eval.similarity_matrix`, for the label of the colours.
    title : str
        Such as the number of images.

    Raises
    ------
    ValueError
        If the matrix is not square, or there are not as many labels.
    """
    from matplotlib.figure import Figure

    count = len(labels)
    if tuple(matrix.shape) != (count, count):
        raise ValueError(
            f"matrix: expected ({count}, {count}), a row for each of the labels, got {tuple(matrix.shape)}"
        )
    short = [text if len(text) <= MAX_LETTERS else f"…{text[1 - MAX_LETTERS :]}" for text in labels]
    words = 0.055 * max(map(len, short))
    cells = CELL_INCHES * count if count <= MAX_NUMBERS else CELL_INCHES * MAX_NUMBERS
    side = max(cells, COLUMN_INCHES - words - 0.7)
    flat = words <= 0.9 * side / min(count, MAX_NUMBERS)  # names below the columns, side by side
    figure = Figure((words + side + 0.7, (0.15 if flat else words) + side), layout="constrained")
    ax = figure.subplots()
    picture = ax.imshow(matrix.tolist(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(title)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    step = -(-count // MAX_NUMBERS)
    shown = range(0, count, step)
    ax.set_xticks(shown, [short[place] for place in shown], rotation=0 if flat else 90)
    ax.set_yticks(shown, [short[place] for place in shown])
    ax.tick_params(length=0)
    for row in range(count if count <= MAX_NUMBERS else 0):
        for column in range(count):
            value = float(matrix[row, column])
            color = "white" if value > 0.6 else "black"
            ax.text(column, row, _number(value), ha="center", va="center", fontsize=6, color=color)
    bar = figure.colorbar(picture, ax=ax, shrink=min(0.85, 2.4 / side), pad=0.02, ticks=[0, 0.5, 1])
    bar.set_label(LABELS.get(measure, measure), fontsize=7)
    bar.outline.set_visible(False)
    return figure


def _number(value: float) -> str:
    """Return two decimals without the zero before the point, as ``.87``; ``1`` from .9995 on: equal."""
    if value >= 0.9995:
        return "1"
    text = f"{min(value, 0.99):.2f}"
    return "0" if text in ("0.00", "-0.00") else text.replace("0.", ".", 1).replace("-", "−")
