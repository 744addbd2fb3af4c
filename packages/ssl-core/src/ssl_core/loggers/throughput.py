"""Images per second, of the last stretch and of the run."""

import time


class Throughput:
    """Counts images against the clock, over training steps only: evaluation and checkpoints do not count."""

    def __init__(self) -> None:
        self.images = 0  # of the run, in this process, over all ranks
        self.seconds = 0.0  # in which they were trained on
        self._stretch = 0
        self._clock = time.perf_counter()

    def restart(self) -> None:
        """Begin a stretch of training now."""
        self._stretch, self._clock = 0, time.perf_counter()

    def add(self, images: int) -> None:
        """Count the images of a batch."""
        self._stretch += images

    def rate(self) -> float:
        """Close the stretch, return its images per second, and begin the next."""
        seconds = time.perf_counter() - self._clock
        rate = self._stretch / seconds
        self.images, self.seconds = self.images + self._stretch, self.seconds + seconds
        self.restart()
        return round(rate, 1)

    @property
    def mean(self) -> float | None:
        """Images per second of all closed stretches; None before the first."""
        return round(self.images / self.seconds, 1) if self.seconds else None
