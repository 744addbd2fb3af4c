"""Figure of the spectrum of the features."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ssl_eval.figures.style import COLUMN_INCHES, legend_above, look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_SHARE = 1e-12  # of the largest eigenvalue; smaller ones are rounding errors


def spectrum_figure(groups: Mapping[str, list[Tensor]]) -> "Figure":
    """Return the eigenvalues divided by the largest one, against their index, on logarithmic axes.

    Parameters
    ----------
    groups : mapping of str to list of Tensor
        Label -> ``(D,)`` eigenvalues of each run in descending order; the line is their geometric mean, the band their range.
    """
    from matplotlib.figure import Figure

    figure = Figure((COLUMN_INCHES, 2.1), layout="constrained")
    ax = figure.subplots()
    handles = {}
    for number, (label, spectra) in enumerate(groups.items()):
        shortest = min(map(len, spectra))
        shares = torch.stack([spectrum[:shortest] / spectrum[0] for spectrum in spectra])
        shares = shares[:, : int((shares > MIN_SHARE).all(0).sum())]
        x = range(1, shares.shape[1] + 1)
        mean = shares.log().mean(0).exp().tolist()
        style = look(number, markers=True)
        # Markers at equal distances on the logarithmic axis.
        at = sorted({round(2**power) - 1 for power in range(12) if 2**power <= len(mean)})
        (handles[label],) = ax.plot(x, mean, markevery=at, **style)
        if len(shares) > 1:
            low, high = shares.min(0).values.tolist(), shares.max(0).values.tolist()
            ax.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.set_xlabel("index of the eigenvalue")
    ax.set_ylabel("eigenvalue / largest")
    legend_above(figure, handles, COLUMN_INCHES)
    return figure
