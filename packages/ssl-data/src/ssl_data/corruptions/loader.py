"""Batches of corrupted images."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.corruptions.corrupt import check_corruption, corrupt
from ssl_data.loading.threads import bounded_threads


class CorruptedLoader:
    """The batches of another loader with a corruption of ImageNet-C: see :func:`ssl_data.corrupt`.

    The view is made first (resized and cut out), rounded to 8 bits, corrupted, and normalised again: the order of the paper.

    Parameters
    ----------
    loader : Loader
        Gives batches ``(views, labels, ids)``; the first view is taken, ``(N, C, H, W)`` float of one or three bands.
    mean, std : sequence of float
        The normalisation of the views, one number a band or one for all.
    corruption : str
        One of ``ssl_data.corruptions.severities.CORRUPTIONS``.
    severity : int
        1 to 5.
    seed : int
        Seed of the random numbers. Those of an image depend on its id, and not on batches, ranks and threads.
    num_workers : int, optional
        Threads. Default: one for each processor.

    Raises
    ------
    ValueError
        For an unknown corruption or severity.

    Examples
    --------
    >>> from ssl_data import ArraySource, Loader, views
    >>> source = ArraySource(np.full((4, 32, 32, 3), 100, np.uint8), [0, 1, 0, 1])
    >>> clean = Loader(source, views("evaluation", size=32), batch_size=4, shuffle=False)
    >>> [(batch, labels, ids)] = CorruptedLoader(clean, (0.0,), (1.0,), "brightness", severity=3)
    >>> (255 * batch[0][0, :, 0, 0]).round().tolist()
    [138.0, 138.0, 138.0]
    """

    def __init__(
        self,
        loader: Any,
        mean: Sequence[float],
        std: Sequence[float],
        corruption: str,
        severity: int,
        seed: int = 0,
        num_workers: int | None = None,
    ) -> None:
        check_corruption(corruption, severity)
        self.loader, self.corruption, self.severity, self.seed = loader, corruption, severity, seed
        self._mean, self._std = (torch.tensor(each, dtype=torch.float32).view(-1, 1, 1) for each in (mean, std))
        self.num_workers = bounded_threads(num_workers)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[list[Tensor], Tensor, Tensor]]:
        with ThreadPoolExecutor(self.num_workers) as pool:
            for views, labels, ids in self.loader:
                images = self._pixels(views[0])
                corrupted = list(pool.map(self._corrupted, images, ids.tolist()))
                pixels = np.stack(corrupted) if corrupted else images  # a rank without samples in the last batch
                scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
                yield [(scaled - self._mean) / self._std], labels, ids

    def _pixels(self, view: Tensor) -> NDArray[np.uint8]:
        """Return a batch of views as ``(N, H, W, C) uint8``."""
        values = view.detach().cpu().float() * self._std + self._mean
        return (255 * values).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()

    def _corrupted(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        return corrupt(image, self.corruption, self.severity, self.seed, index)


def corrupted_loaders(
    loaders: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], corruption: str, severity: int, seed: int
) -> dict[str, CorruptedLoader]:
    """Return each loader with a corruption.

    Raises
    ------
    ValueError
        For views that are functions, whose values have no known range, and for images that are not uint8 with one or three
        bands.
    """
    found = {}
    for name, loader in loaders.items():
        if not len(mean):
            raise ValueError(f"data.views: a corruption of {name!r} needs 8-bit images, and these views are functions")
        image = loader.source.image(0)
        if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
            got = f"{image.shape[2]} of {image.dtype}"
            raise ValueError(f"data.pixels: a corruption of {name!r} needs one or three bands of uint8, got {got}")
        found[name] = CorruptedLoader(loader, mean, std, corruption, severity, seed, loader.num_workers)
    return found
