"""Iteration, position and state of a loader."""

import copy
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Self

import torch

from ssl_data.augment.columns import crops
from ssl_data.augment.seeding import view_seed
from ssl_data.batch import Batch
from ssl_data.errors import ArgumentError
from ssl_data.loading.batch_transform import BATCH, transformed
from ssl_data.loading.batches import Batches
from ssl_data.loading.position import Position
from ssl_data.loading.ranks import warn_of_unknown_rank
from ssl_data.loading.threads import bounded_threads
from ssl_data.loading.worker_batches import WorkerBatches


class ResumableLoader:
    """Gives the batches of an epoch for each iteration; its whole state is ``(epoch, step)``.

    A subclass sets ``_batches`` and defines ``__len__``, ``_identity`` and ``_made``. Parameters are described in
    :class:`ssl_data.Loader`.
    """

    _batches: Batches  # what makes the batches

    def __init__(
        self,
        views: list[Any],
        batch_size: int,
        seed: int,
        rank: int | None,
        world_size: int | None,
        num_workers: int | None,
        dtype: torch.dtype,
        batch_transform: Callable[[Batch, torch.Generator], Batch] | None,
    ) -> None:
        self._unranked = rank is None  # then several processes are worth a warning
        rank, world_size = rank or 0, world_size or 1
        if batch_size < 1:
            raise ArgumentError("batch_size", batch_size, "expected at least 1")
        if not 0 <= rank < world_size:
            raise ArgumentError("rank", rank, f"expected 0 <= rank < world_size={world_size}")
        if not 0 <= seed < 2**64:
            raise ArgumentError("seed", seed, "expected 0 to 2**64 - 1")
        if dtype not in (torch.float32, torch.bfloat16):
            raise ArgumentError("dtype", dtype, "expected torch.float32 or torch.bfloat16")
        self.views, self.batch_size, self.seed = views, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.batch_transform = batch_transform
        self.num_workers = 0 if num_workers == 0 and any(map(callable, views)) else bounded_threads(num_workers)
        self._position = Position()
        self._crops = False  # whether batches end with the crops of their views

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        raise NotImplementedError

    def _identity(self) -> dict[str, int]:
        """Return the options that give a position its meaning."""
        raise NotImplementedError

    def _made(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from step ``first`` on."""
        raise NotImplementedError

    def start(self, epoch: int, step: int = 0) -> Self:
        """Set the position of the next iteration to batch ``step`` of ``epoch``; return the loader.

        Raises
        ------
        ValueError
            For a negative epoch, or a step that the epoch has not (its length is allowed: nothing is left of it).
        """
        if epoch < 0 or not 0 <= step <= len(self):
            raise ValueError(f"expected epoch >= 0 and 0 <= step <= {len(self)}, got epoch {epoch}, step {step}")
        self._position = Position(epoch, step)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration with ``epoch``.

        Directly after :meth:`start` or :meth:`load_state_dict` a step in the middle is kept if the epoch is the one of
        ``start``, or the one that was set when the state was saved: then the loop continues that epoch.
        """
        self._position.set_epoch(epoch)

    def state_dict(self) -> dict[str, int | None]:
        """Return the position after the last batch that was taken, with the options that give it a meaning."""
        return self._position.state_dict() | self._identity()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the position of the next iteration to that of a state.

        Raises
        ------
        ValueError
            For the state of a loader with another seed, batch size or number of samples.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                raise ArgumentError(name, value, f"the state is of a loader with {name}={state_dict[name]!r}")
        self._position = Position.restored(state_dict)

    @property
    def sampler(self) -> Self:
        """The loader itself: Lightning calls ``loader.sampler.set_epoch(epoch)`` before each epoch."""
        return self

    batch_sampler = None  # for Lightning, which looks for it where there is a sampler

    def with_crops(self) -> Self:
        """Return a loader of the same batches that end with the crops of the views: V tensors ``(n, 5) float32``.

        Their columns are top, left, height and width of the box of the stored image that became the view, in its pixels,
        and 1 where the view is mirrored left to right.

        Raises
        ------
        ValueError
            For views that are rotated, sheared, shifted or zoomed, or made by functions: they are no boxes of the image.
        """
        if isinstance(self._batches, WorkerBatches):
            raise ValueError(
                "views of functions have no boxes in the image; expected crops, such as the preset 'vicreg'"
            )
        moved = next((number for number, spec in enumerate(self.views) if spec.affine or spec.moves_pixels), None)
        if moved is not None:
            raise ValueError(
                f"view {moved} is rotated, sheared, shifted, zoomed or flipped vertically, and so has no box in the image; "
                "expected views that are crops, such as the preset 'vicreg'"
            )
        part = copy.copy(self)
        part._batches = self._batches.with_parameters()
        part._position, part._crops = copy.copy(self._position), True
        return part

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch; the position moves with the batches that are taken."""
        yield from self._position.follow(self._batches_of, len(self))

    def _batches_of(self, epoch: int, first: int) -> Iterator[Batch]:
        if self._unranked:
            self._unranked = not warn_of_unknown_rank()  # once
        batches = self._made(epoch, first)
        if self.batch_transform is None:
            return batches
        seeds = (self._batch_seed(epoch, step) for step in count(first))
        return transformed(batches, self.batch_transform, seeds)

    def _batch_seed(self, epoch: int, step: int) -> int:
        return view_seed(self.seed, epoch, step * self.world_size + self.rank, BATCH)


def with_crops(batch: Callable[[], Batch]) -> Batch:
    """Return a batch with crops for the parameters of its views."""
    *parts, parameters = batch()
    return *parts, [crops(view) for view in parameters]
