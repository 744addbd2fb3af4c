"""Random directions that are a pure function of two integers: the same on every rank and device, and after a resumption.

Written by hand because torch's generators take their seed from the host and give other numbers on other devices.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_embeddings, problem_with_layout
from ssl_losses.components.accumulation import AccumulatedState
from ssl_losses.components.loss import Loss
from ssl_losses.ops.splitmix64 import GOLDEN_RATIO, shift_right, splitmix64
from ssl_losses.ops.view_centroid import problem_with_global_views
from ssl_losses.precision import widened


def random_directions(dimensions: int, num_directions: int, seed: int, step: Tensor) -> Tensor:
    """Return directions drawn uniformly from the sphere, one set for each seed and step.

    The numbers are hashed from counters on the device of ``step``: nothing waits for a GPU, and no rank needs to ask another.

    Parameters
    ----------
    dimensions, num_directions : int
        D and K.
    seed : int
        Chooses the sequence.
    step : Tensor
        ``()`` int64, the place in the sequence.

    Returns
    -------
    Tensor
        ``(D, K)`` float32, columns of length 1.

    Examples
    --------
    >>> directions = random_directions(3, 2, seed=0, step=torch.tensor(5))
    >>> torch.allclose(directions.norm(dim=0), torch.ones(2))
    True
    """
    key = _hashed(_hashed(torch.full_like(step, seed)) + step)
    counters = torch.arange(dimensions * num_directions, device=step.device).view(dimensions, num_directions)
    bits = _hashed(key + counters)
    # Box-Muller: two uniform numbers give a normal one
    radius = (-2 * ((shift_right(bits, 32) + 1) / 2**32).log()).sqrt()
    normal = radius * (2 * math.pi / 2**32 * (bits & 0xFFFFFFFF)).cos()
    return normal / torch.linalg.vector_norm(normal, dim=0).clamp_min(torch.finfo(normal.dtype).tiny)


def _hashed(index: Tensor) -> Tensor:
    """Return the 64 bits at an index of the sequence of SplitMix64 for the seed 0."""
    return splitmix64(index * GOLDEN_RATIO)


def checked_views(
    views: Sequence[Tensor], directions: Tensor, global_views: int | None, samples: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the views as ``(V, N, D)`` and the directions, of one type, float32 at least; or raise ``ValueError``."""
    problem = problem_with_global_views(global_views, len(views)) or _problem_with_directions(directions, views)
    check_embeddings(*views, views=1, samples=samples, problem=problem)
    *rows, directions = widened((*views, directions))
    return torch.stack(rows), directions


def _problem_with_directions(directions: Tensor, views: Sequence[Tensor]) -> str | None:
    """Return what is wrong with directions ``(D, K)`` for embeddings ``(N, D)``, if anything."""
    if problem := problem_with_layout("directions", directions, "(D, K)"):
        return problem
    if views and directions.shape[:1] != views[0].shape[1:]:
        return (
            f"directions must be (D, K) with the D of the embeddings {tuple(views[0].shape)}, got shape "
            f"{tuple(directions.shape)}; each column is a direction"
        )
    return None


class RandomDirections(AccumulatedState):
    """The directions of one step after another.

    Parameters
    ----------
    num_directions : int
        K, for each step.
    seed : int
        The same on all ranks.

    Attributes
    ----------
    step : Tensor
        Buffer ``()`` int64, saved with the model, so that a resumed run has the directions of an uninterrupted one.
    """

    step: Tensor

    def __init__(self, num_directions: int, seed: int = 0) -> None:
        super().__init__()
        check_counts(num_directions=num_directions)
        self.num_directions, self.seed = num_directions, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return this step's directions for embeddings ``(N, D)``, ``(D, K)`` float32."""
        known = bool(views) and isinstance(views[0], Tensor)
        dimensions = views[0].shape[-1:].numel() if known else 1  # the loss reports other inputs
        return random_directions(dimensions, self.num_directions, self.seed, self.step)

    def advance(self) -> None:
        """Advance to the next step, once for all micro-batches of :func:`~ssl_losses.accumulate_updates`."""
        self.change_state()

    @torch.no_grad()
    def apply_change(self) -> None:  # type: ignore[override]
        """Count the step."""
        self.step += 1

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.num_directions}, seed={self.seed}"


class SlicedLoss(Loss):
    """Base class of the losses that regularise embeddings along random directions, new ones for each batch.

    Parameters
    ----------
    num_slices : int
        K, the directions of each batch.
    seed : int
        Selects the directions; the same on all ranks.
    **options
        Options of the function.

    Attributes
    ----------
    function
        The loss of ``(*views, directions, **options)``.
    slices : RandomDirections
        Its buffer ``step`` counts the batches in training mode and is saved with the model, so that a resumed run draws the
        directions of an uninterrupted one. In evaluation the directions are fixed, so that losses can be compared.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, num_slices: int, seed: int, **options: Any) -> None:
        check_counts(num_slices=num_slices)
        super().__init__(**options)
        self.slices = RandomDirections(num_slices, seed)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``; in training mode, then advance to the next directions."""
        loss = self.function(*views, directions=self.slices(views), **self.options)
        if self.training:
            self.update()
        return loss

    def update(self) -> None:
        """Advance to the next directions; ``forward`` does so by itself."""
        self.slices.advance()
