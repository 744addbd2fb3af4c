"""Reliability diagram: accuracy against confidence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.style import COLORS, COLUMN_INCHES, DASHES, legend_above, look
from ssl_eval.metrics.calibration import Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SAMPLES = 10  # of a bin that is drawn


def reliability_figure(groups: Mapping[str, Reliability]) -> "Figure":
    """Return accuracy against confidence (upper panel) and the share of the samples in each bin of confidence (lower panel).

    Bins of fewer than ten samples are left out above: their accuracy is too uncertain.

    Parameters
    ----------
    groups : mapping of str to Reliability
        Bins of equal width over 0..1.
    """
    from matplotlib.figure import Figure

    figure = Figure((COLUMN_INCHES, 2.9), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    (diagonal,) = upper.plot([0, 100], [0, 100], color="#808080", linewidth=0.8, linestyle=(0, (4, 3)))
    handles = {"perfect calibration": diagonal}
    for number, (label, found) in enumerate(groups.items()):
        filled = found.count >= LEAST_SAMPLES
        (line,) = upper.plot(
            _percent(found.confidence[filled]), _percent(found.accuracy[filled]), clip_on=False, **look(number)
        )
        handles[f"{label}, ECE {100 * found.expected_error:.1f} %".strip(", ")] = line
        bins = len(found.count)
        edges = [100 * each / bins for each in range(bins + 1)]
        share = _percent(found.count / found.count.sum())
        lower.stairs(share, edges, color=COLORS[number % len(COLORS)], linestyle=DASHES[number // len(COLORS) % 3])
    upper.set_ylabel("accuracy (%)")
    lower.set_ylabel("samples (%)")
    lower.set_xlabel("confidence (%)")
    for ax in (upper, lower):
        ax.set_xlim(0, 102)
        ax.set_ylim(bottom=0)
    upper.set_ylim(0, 102)
    figure.align_ylabels()
    legend_above(figure, handles, COLUMN_INCHES)
    return figure


def _percent(values: Tensor) -> list[float]:
    return (100 * values).tolist()
