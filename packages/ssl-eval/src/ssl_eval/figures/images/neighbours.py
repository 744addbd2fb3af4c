"""Figure of nearest neighbours: each query and the images nearest to it, framed by whether they have its class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.images.image_grid import Cell, check_images, grid_figure
from ssl_eval.figures.style import class_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def neighbours_figure(
    queries: Tensor,
    neighbours: Tensor,
    query_labels: Sequence[int] | Tensor,
    neighbour_labels: Sequence[Sequence[int]] | Tensor,
    names: Sequence[str],
) -> "Figure":
    """Return a figure with a row for each query: the query, then its neighbours, the nearest first.

    A neighbour of the query's class has a solid green frame, any other a dashed vermilion one.

    Parameters
    ----------
    queries : Tensor
        ``(Q, C, H, W)`` float in 0..1, C = 1 or 3.
    neighbours : Tensor
        ``(Q, k, C, H, W)`` float in 0..1.
    query_labels : sequence of int or Tensor
        ``(Q,)`` integer, the classes of the queries.
    neighbour_labels : sequence of sequence of int or Tensor
        ``(Q, k)`` integer, the classes of the neighbours.
    names : sequence of str
        Names of the classes; a class without a name is shown by its number.

    Raises
    ------
    ValueError
        If shapes disagree, or values are not in 0..1.
    """
    check_images("queries", queries)
    if neighbours.ndim != 5 or len(neighbours) != len(queries):
        raise ValueError(f"neighbours: expected ({len(queries)}, k, C, H, W), got {tuple(neighbours.shape)}")
    check_images("neighbours", neighbours.flatten(0, 1))
    truth = [int(label) for label in query_labels]
    found = [[int(label) for label in row] for row in neighbour_labels]
    count = neighbours.shape[1]
    if len(truth) != len(queries) or len(found) != len(queries) or any(len(row) != count for row in found):
        raise ValueError(f"labels: expected {len(queries)} of queries and ({len(queries)}, {count}) of neighbours")
    rows = []
    for query, images, label, others in zip(queries, neighbours, truth, found):
        row = [Cell(query, class_name(label, names))]
        rows.append(row + [Cell(image, class_name(k, names), k == label) for image, k in zip(images, others)])
    titles = ["query", "nearest", *(str(place) for place in range(2, count + 1))]
    return grid_figure(rows, titles=titles[: count + 1])
