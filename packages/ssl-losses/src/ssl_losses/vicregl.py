"""VICRegL: VICReg of whole images, and of the cells of their feature maps, matched by location and by feature."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import (
    check_counts,
    check_embeddings,
    check_shares,
    check_weights,
    problem_with_embeddings,
    problem_with_layout,
)
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import agree_on, mean_over_ranks
from ssl_losses.ops.covariance import centered
from ssl_losses.ops.view_centroid import problem_with_global_views
from ssl_losses.precision import widened, without_autocast
from ssl_losses.vicreg import variance_and_covariance


@without_autocast
def vicregl(
    embeddings: Sequence[Tensor],
    maps: Sequence[Tensor],
    locations: Sequence[Tensor],
    alpha: float = 0.75,
    num_matches: tuple[int, int] = (20, 4),
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    global_views: int = 2,
    map_order: bool = False,
) -> Tensor:
    r"""Return the VICRegL loss (Bardes, Ponce & LeCun 2022, https://arxiv.org/abs/2210.01571).

    .. math::
        \alpha \, \ell(\{z_v\}) + \frac{1 - \alpha}{|P|} \sum_{(u, v) \in P} \sum_{m}
        \frac12 \left[ \ell(M_m(u, v)) + \ell(M_m(v, u)) \right], \qquad
        \ell = \lambda s + \mu \bar v + \nu \bar c

    over the global batch. P are the pairs of a global view with each other view, and m is matching by location and matching
    by feature: :math:`M_m(u, v)` pairs each cell of u's map with the cell of v's that is nearest in the original image, or
    nearest in feature, and keeps the closest pairs of each image. ℓ has the terms of VICReg: the mean squared difference s
    of what is paired (for the embeddings, of the pairs P), and the hinges v̄ of the variances and the squares c̄ of the
    covariances, both as means over the sides. Variances and covariances of cells are taken over the batch, for each place
    among the pairs by itself: for the closest pair of every image, the second closest, and so on; or, with ``map_order``, in
    the order of the cells in the map.

    As in the authors' code, c̄ is a mean where VICReg's code has a sum: ν = 1 here weighs half of ν = 1 there. In the paper
    a global view keeps 20 pairs and a local one 4; the code keeps 20 in one direction of a pair of views and 4 in the other.
    Here it is the paper's.

    Parameters
    ----------
    embeddings : sequence of Tensor
        V >= 2 tensors ``(N, D)`` float, one for each view, the global views first. At least 2 samples in the
        global batch.
    maps : sequence of Tensor
        V tensors ``(N, H, W, E)`` float, the projected feature maps; H and W may differ between the views.
    locations : sequence of Tensor
        V tensors ``(N, H, W, 2)`` float: where in the original image the centre of each cell lies, in pixels or any other
        unit that the views have in common. A view that was flipped has a flipped grid.
    alpha : float
        α, between 0 and 1: the share of the whole images.
    num_matches : tuple of int
        Pairs of cells to keep of an image: for the cells of a global view, and for those of a local one. Maps with fewer
        cells keep all.
    invariance, variance, covariance : float
        λ, μ and ν.
    global_views : int
        How many views are global; the paper's 2.
    map_order : bool
        Whether the pairs that an image keeps come in the order of the cells in u's map, as in the authors' code, and not the
        closest first, as in lightly's; the paper leaves it open. Only the variance and covariance of cells depend on it:
        the loss differs by some tenths of a percent, the gradient of the maps by some ten percent.

    Returns
    -------
    Tensor
        Scalar, float32 or float64.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # spread, and uncorrelated
    >>> cells = torch.stack([z, 3 * z], 1).view(4, 1, 2, 2)  # maps of 1 x 2 cells
    >>> places = torch.tensor([[0.0, 0.0], [0.0, 9.0]]).expand(4, 1, 2, 2)
    >>> vicregl([z, z], [cells, cells], [places, places]).item()
    0.0
    >>> swapped = places.flip(2)  # a flip: by location each cell now meets the other, by feature nothing changes
    >>> vicregl([z, z], [cells, cells], [places, swapped]).item()  # (1 - α) λ (3 - 1)²
    25.0
    """
    _check_options(alpha, num_matches, invariance, variance, covariance)
    check_embeddings(*embeddings, samples=2, problem=_problem_with_maps(embeddings, maps, locations, global_views))
    agree_on(maps[:1])
    agree_on(maps[-1:])
    whole = _of_embeddings(torch.stack(widened(embeddings)), global_views)
    cells = [view.flatten(1, 2) for view in widened(maps)]  # (N, H W, E) each
    places = [view.flatten(1, 2) for view in widened(locations)]
    local = _of_cells(cells, places, num_matches, global_views, map_order)
    distance, spread, shared = (alpha * x + (1 - alpha) * y for x, y in zip(whole, local))
    return invariance * mean_over_ranks(distance) + variance * spread + covariance * shared


def _pairs(views: int, global_views: int) -> list[tuple[int, int, float]]:
    """Return the pairs of views with a global one, and the weights of a mean: two global views each meet the other."""
    counts = [(u, v, 2 if v < global_views else 1) for u, v in combinations(range(views), 2) if u < global_views]
    total = sum(count for _, _, count in counts)
    return [(u, v, count / total) for u, v, count in counts]


def _of_embeddings(z: Tensor, global_views: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return this rank's distance, and the variance and the covariance term, of ``(V, N, D)``."""
    distance = sum((weight * F.mse_loss(z[u], z[v]) for u, v, weight in _pairs(len(z), global_views)), z.new_zeros(()))
    spread, shared = variance_and_covariance(centered(z))
    return distance, spread.mean(), shared.mean()


def _of_cells(
    cells: list[Tensor], places: list[Tensor], num_matches: tuple[int, int], global_views: int, map_order: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same three of matched cells, by feature and by location, in both directions of each pair of views."""
    matches, weights = [], []
    for u, v, weight in _pairs(len(cells), global_views):
        for features in (cells, places):
            for a, b in ((u, v), (v, u)):
                kept = num_matches[0 if a < global_views else 1]
                matches.append(_matched(cells[a], cells[b], features[a], features[b], kept, map_order))  # (2, M, N, E)
                weights.append(weight / 2)
    sides = [match.flatten(0, 1) for match in matches]
    # all at once: the ranks sum twice, and not twice for each
    terms = variance_and_covariance(centered(torch.cat(sides)))
    spread, shared = (
        torch.stack([weight * part.mean() for weight, part in zip(weights, term.split([len(side) for side in sides]))])
        for term in terms
    )
    distance = torch.stack([weight * F.mse_loss(*match) for weight, match in zip(weights, matches)])
    return distance.sum(), spread.sum(), shared.sum()


def _matched(
    cells: Tensor, others: Tensor, features: Tensor, other_features: Tensor, num_matches: int, map_order: bool
) -> Tensor:
    """Return the closest pairs of a cell of one map and its nearest in the other, ``(2, M, N, E)``."""
    with torch.no_grad():
        # without matrix products, which lose the digits that tell near cells apart
        distances = torch.cdist(features, other_features, compute_mode="donot_use_mm_for_euclid_dist")
        distance, nearest = distances.min(2)
        closest = distance.argsort(dim=1, stable=True)[:, :num_matches]  # (N, M), the closest first
        if map_order:
            closest = closest.sort(dim=1).values
        nearest = nearest.gather(1, closest)
    pairs = [torch.take_along_dim(a, i.unsqueeze(2), dim=1) for a, i in ((cells, closest), (others, nearest))]
    return torch.stack(pairs).transpose(1, 2)


def _problem_with_maps(
    embeddings: Sequence[Tensor], maps: Sequence[Tensor], locations: Sequence[Tensor], global_views: int
) -> str | None:
    """Return what is wrong with this rank's views, if anything."""
    views = len(embeddings)
    if not len(maps) == len(locations) == views:
        return (
            f"each view needs an embedding, a map and the locations of its cells, got {views}, {len(maps)} and "
            f"{len(locations)}"
        )
    if problem := problem_with_global_views(global_views, views) or problem_with_embeddings(tuple(embeddings)):
        return problem
    for view, grid in zip(maps, locations):
        if problem := problem_with_layout("maps", view, "(N, H, W, E)"):
            return problem
        if problem := problem_with_layout("locations", grid, "(N, H, W, 2)"):
            return problem
        if view.shape[0] != len(embeddings[0]) or view.shape[3] != maps[0].shape[3]:
            return (
                f"maps must have the samples of the embeddings {tuple(embeddings[0].shape)} and one width, got shapes "
                f"{tuple(maps[0].shape)} and {tuple(view.shape)}"
            )
        if grid.shape != (*view.shape[:3], 2):
            return (
                f"locations must be (N, H, W, 2) with the N, H and W of the map {tuple(view.shape)}, got shape "
                f"{tuple(grid.shape)}"
            )
    return None


def _check_options(alpha: float, num_matches: tuple[int, int], *weights: float) -> None:
    check_shares(alpha=alpha)
    check_weights(**dict(zip(("invariance", "variance", "covariance"), weights)))
    check_counts(num_matches=min(num_matches))


class VICRegLLoss(Loss):
    """:func:`vicregl` as a ``torch.nn.Module`` with the same options."""

    def __init__(
        self,
        alpha: float = 0.75,
        num_matches: tuple[int, int] = (20, 4),
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        global_views: int = 2,
        map_order: bool = False,
    ) -> None:
        _check_options(alpha, num_matches, invariance, variance, covariance)
        matching = {"num_matches": num_matches, "global_views": global_views, "map_order": map_order}
        weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        super().__init__(alpha=alpha, **matching, **weights)

    def forward(self, embeddings: Sequence[Tensor], maps: Sequence[Tensor], locations: Sequence[Tensor]) -> Tensor:
        """Return the loss of V embeddings ``(N, D)``, maps ``(N, H, W, E)`` and locations ``(N, H, W, 2)``."""
        return vicregl(embeddings, maps, locations, **self.options)
