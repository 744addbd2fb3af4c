"""A figure that can be drawn, with its name and its caption."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_eval.figures.style import SUFFIXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Drawing:
    """A figure that can be drawn.

    Attributes
    ----------
    name : str
        Name of the file, without suffix.
    caption : str
        What it shows, of how many runs, by which protocol.
    draw : callable
        Returns the figure; :class:`~ssl_eval.figures.style.NothingToDraw` where there is nothing. Or a PNG file, which is
        copied.
    dataset : str
        Data set of the results; empty if the report has one data set, and for a figure of several.
    """

    name: str
    caption: str
    draw: Callable[[], "Figure"] | Path
    dataset: str = ""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of its files, the one for a paper last."""
        return (".png",) if isinstance(self.draw, Path) else SUFFIXES


def slug(text: str) -> str:
    """Return text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.")[:60] or "unnamed"


def counted(label: str, runs: int) -> str:
    return f"{label} (n={runs})" if runs > 1 else label
