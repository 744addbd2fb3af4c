"""A figure that can be drawn, with its name and its caption."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Drawing:
    """A figure that can be drawn.

    Attributes
    ----------
    name : str
        Of its file, without suffix.
    caption : str
        What it shows, of how many runs, by which protocol.
    draw : callable
        Returns the figure; :class:`~ssl_eval.figures.style.NothingToDraw` where there is nothing.
    """

    name: str
    caption: str
    draw: Callable[[], "Figure"]


def slug(text: str) -> str:
    """Return text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.")[:60] or "unnamed"


def counted(label: str, runs: int) -> str:
    return f"{label} (n={runs})" if runs > 1 else label
