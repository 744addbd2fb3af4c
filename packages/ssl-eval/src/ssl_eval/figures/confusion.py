"""Figure of the confusion matrix: with numbers for few classes, as an image for many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import COLUMN_INCHES, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERS = 12  # classes up to which each cell has its number
MAX_NAMES = 40  # classes up to which each row has its name
MAX_LETTERS = 14  # of a name


def confusion_figure(counts: Tensor, names: Sequence[str]) -> "Figure":
    """Return the confusion matrix: the share of each class (row, in percent) that was given to each class (column).

    Parameters
    ----------
    counts : Tensor
        ``(K, K)``: samples of class k given to class l, as :func:`ssl_eval.confusion_matrix` counts them.
    names : sequence of str
        Names of the K classes.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    share = 100 * counts.double() / counts.double().sum(1, keepdim=True)
    classes = len(names)
    figure = Figure((COLUMN_INCHES, 0.9 * COLUMN_INCHES), layout="constrained")
    ax = figure.subplots()
    # The square root makes errors of one percent visible next to a diagonal of a hundred.
    picture = ax.imshow(share.tolist(), cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    short = [shortened(name, MAX_LETTERS) for name in names]
    size = 7 if classes <= MAX_NUMBERS else 4.5
    shown = range(classes) if classes <= MAX_NAMES else range(0, classes, 10)
    texts = [short[k] for k in shown] if classes <= MAX_NAMES else [str(k) for k in shown]
    ax.set_xticks(shown, texts, fontsize=size if classes <= MAX_NAMES else 7)
    ax.set_yticks(shown, texts, fontsize=size if classes <= MAX_NAMES else 7)
    if max(map(len, texts)) * classes > 45 and classes <= MAX_NAMES:
        ax.tick_params(axis="x", labelrotation=90)
    if classes <= MAX_NUMBERS:
        for row in range(classes):
            for column in range(classes):
                value = float(share[row, column])
                if value >= 0.05:
                    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
                    color = "white" if value > 35 else "black"
                    ax.text(column, row, text, ha="center", va="center", fontsize=5.5, color=color)
    bar = figure.colorbar(picture, ax=ax, shrink=0.85, pad=0.02, ticks=[0, 1, 5, 20, 50, 100])
    bar.set_label("share of the class (%)", fontsize=7)
    bar.outline.set_visible(False)
    return figure


def worst_confusions(counts: Tensor, names: Sequence[str], most: int = 3) -> list[str]:
    """Return the largest off-diagonal shares as text: ``8 as 1 (6.2 %)``.

    Examples
    --------
    >>> import torch
    >>> worst_confusions(torch.tensor([[9, 1], [0, 10]]), ["cat", "dog"])
    ['cat as dog (10.0 %)']
    """
    share = counts.double() / counts.double().sum(1, keepdim=True)
    share = share.nan_to_num(nan=0.0).fill_diagonal_(0)
    found = []
    for place in share.flatten().argsort(descending=True, stable=True)[:most].tolist():
        row, column = divmod(place, len(names))
        if share[row, column] > 0:
            found.append(f"{names[row]} as {names[column]} ({100 * float(share[row, column]):.1f} %)")
    return found
