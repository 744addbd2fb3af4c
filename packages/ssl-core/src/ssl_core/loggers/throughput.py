"""Images per second, since the last call and over the run."""

import time


class Throughput:
    """Measures images per second of training steps, without evaluation and checkpoints."""

    def __init__(self) -> None:
        self.images = 0  # of the run, in this process, over all ranks
        self.seconds = 0.0  # of training
        self._stretch = 0
        self._clock = time.perf_counter()

    def restart(self) -> None:
        """Start the clock; called before training and after each interruption."""
        self._stretch, self._clock = 0, time.perf_counter()

    def add(self, images: int) -> None:
        """Count the images of a batch."""
        self._stretch += images

    def rate(self) -> float:
        """Return the images per second since the last call or restart."""
        seconds = time.perf_counter() - self._clock
        rate = self._stretch / seconds
        self.images, self.seconds = self.images + self._stretch, self.seconds + seconds
        self.restart()
        return round(rate, 1)

    @property
    def mean(self) -> float | None:
        """Images per second over the run in this process; None before the first call of rate()."""
        return round(self.images / self.seconds, 1) if self.seconds else None
