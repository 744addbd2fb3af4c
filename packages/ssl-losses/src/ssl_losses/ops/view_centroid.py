"""Agreement of all views of a sample with the centroid of its global ones."""

from torch import Tensor

from ssl_losses.distributed import mean_over_ranks


def distance_to_centroid(z: Tensor, global_views: int | None) -> Tensor:
    """Return the mean squared entry of the difference between each view and the centroid of the first ``global_views``.

    ``z`` is ``(V, N, D)``, with the global views first; ``None`` counts all as global. The mean is over the world.
    """
    return mean_over_ranks((z - z[:global_views].mean(0)).square().mean())


def problem_with_global_views(global_views: int | None, views: int) -> str | None:
    """Return what is wrong with ``global_views`` for this number of views, if anything."""
    if global_views is None or 1 <= global_views <= views:
        return None
    return f"global_views must be between 1 and the number of views, {views}, got {global_views}"
