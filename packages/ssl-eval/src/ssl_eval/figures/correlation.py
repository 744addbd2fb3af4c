"""Accuracy against label-free measures, over the settings of a sweep."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import COLORS, COLUMN_INCHES
from ssl_eval.statistics.rank_correlation import kendall, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def correlation_figure(measures: Mapping[str, tuple[Tensor, Tensor]], accuracy: str) -> "Figure":
    """Return a panel for each measure: the accuracy against it, with the rank correlations and the number of settings.

    Parameters
    ----------
    measures : mapping of str to tuple of Tensor
        Name -> ``(n,)`` values and ``(n,)`` accuracies as the axis shows them, one a setting.
    accuracy : str
        Label of the y axis, with its unit.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(2, len(measures))
    rows = -(-len(measures) // columns)
    figure = Figure((COLUMN_INCHES, 0.25 + (1.45 if columns == 2 else 2.0) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for ax, (name, (values, accuracies)) in zip(axes.flatten(), measures.items()):
        ax.plot(values.tolist(), accuracies.tolist(), "o", color=COLORS[0], markeredgecolor="white", markersize=4)
        rho, tau = spearman(values, accuracies), kendall(values, accuracies)
        ax.set_title(f"ρ = {rho:.2f}, τ = {tau:.2f}, n = {len(values)}".replace("-", "−"), fontsize=6.5)
        ax.set_xlabel(name)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    for ax in axes.flatten()[len(measures) :]:
        ax.remove()
    figure.supylabel(accuracy, fontsize=8)
    return figure
