"""Replacement of unreadable samples."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ssl_data.errors import ArgumentError
from ssl_data.sources.files.bands import NotRGB8Error
from ssl_data.sources.files.decode import UNREADABLE

SKIP_LIMIT = 0.01  # share of the samples that on_error="skip" may replace

Sample = TypeVar("Sample")

_message = logging.getLogger(__name__)
_LOCK = threading.Lock()  # several threads read; a lock of an instance could not be sent to a worker process


class Substitutes:
    """Reads the samples of a source; replaces an unreadable one by another of its class.

    Which one is a function of the position alone, the next readable of its class in a ring: the same in each epoch, on
    each rank and after a restart. The views are drawn for the position that was asked for.

    Parameters
    ----------
    where : str
        Begins each message, such as ``root='photographs'``.
    labels : array
        ``(M,) int64``.
    describe : callable
        From a position to what a user knows it by, such as its path.
    on_error : {"raise", "skip"}
        ``raise`` lets the first unreadable sample be an error; ``skip`` puts another in its place, and logs it once.
    limit : float
        Share of the samples that ``skip`` may replace (one is always allowed).
    group : str
        Stands before ``on_error`` in messages, such as ``"data."``.
    """

    def __init__(
        self,
        where: str,
        labels: NDArray[np.int64],
        describe: Callable[[int], str],
        on_error: str = "raise",
        limit: float = SKIP_LIMIT,
        group: str = "",
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ArgumentError(f"{group}on_error", on_error, "expected 'raise' or 'skip'")
        self.skipped: set[int] = set()
        self._where, self._labels, self._describe, self._on_error = where, labels, describe, on_error
        self._skip_option, self._pixels_option = f"{group}on_error=skip", f"{group}pixels=stored"
        self._at_most = max(1, int(limit * len(labels)))

    def read(self, position: int, read: Callable[[int], Sample]) -> Sample:
        """Return ``read(position)``, or its replacement.

        Raises
        ------
        ValueError
            With position and description: at an unreadable sample, at more of them than the limit, and where nothing of
            the class can be read.
        """
        for at in self._ring(position):
            try:
                return read(at)
            except UNREADABLE as error:
                self._skip(at, error)
        raise ValueError(
            f"{self._where}: no sample of the class of {position}, {self._describe(position)}, can be read"
        )

    def _ring(self, position: int) -> Iterator[int]:
        """Give the positions of a class (a picture of another one would be mislabelled), beginning with this one."""
        yield position
        same = np.flatnonzero(self._labels == self._labels[position])
        yield from same[same > position].tolist()
        yield from same[same < position].tolist()

    def _skip(self, at: int, error: BaseException) -> None:
        why = f"sample {at}, {self._describe(at)}, cannot be read: {error or type(error).__name__}"
        if isinstance(error, NotRGB8Error):
            why += f", or set {self._pixels_option}"
        if self._on_error != "skip":
            raise ValueError(f"{self._where}: {why}; repair or remove it, or set {self._skip_option}") from error
        with _LOCK:
            if at in self.skipped:
                return
            self.skipped.add(at)
            count = len(self.skipped)
        if count > self._at_most:
            raise ValueError(
                f"{self._where}: {count} of {len(self._labels)} samples cannot be read, more than {self._skip_option} "
                f"replaces ({self._at_most}); the last: {why}"
            ) from error
        _message.warning("%s: %s (%d of at most %d)", self._skip_option, why, count, self._at_most)
