"""Figure of the worst mistakes of a classifier: the images that it is most certain of, and wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.images.image_grid import Cell, check_images, grid_figure
from ssl_eval.figures.style import class_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8


def mistakes_figure(
    images: Tensor,
    labels: Sequence[int] | Tensor,
    predicted: Sequence[int] | Tensor,
    confidence: Sequence[float] | Tensor,
    names: Sequence[str],
) -> "Figure":
    """Return a figure of images with their class, the predicted class and its probability, eight in a row.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float in 0..1, C = 1 or 3, in the order in which they are shown.
    labels, predicted : sequence of int or Tensor
        ``(N,)`` integer, true and predicted classes.
    confidence : sequence of float or Tensor
        ``(N,)``, probability of the predicted class, a fraction in 0..1.
    names : sequence of str
        Names of the classes; a class without a name is shown by its number.

    Raises
    ------
    ValueError
        If shapes disagree, or values are not in 0..1.
    """
    check_images("images", images)
    for name, values in (("labels", labels), ("predicted", predicted), ("confidence", confidence)):
        if len(values) != len(images):
            raise ValueError(f"{name}: expected {len(images)}, one an image, got {len(values)}")
    cells = [
        Cell(image, f"{class_name(int(label), names)}\nas {class_name(int(other), names)}\n{_percent(float(share))}")
        for image, label, other, share in zip(images, labels, predicted, confidence)
    ]
    return grid_figure([cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 0.995 else f"{100 * share:.1f} %" if share < 0.9995 else "> 99.9 %"
