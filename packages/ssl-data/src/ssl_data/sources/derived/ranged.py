"""A source with another range of values."""

import numpy as np

from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.source import Source
from ssl_data.value_range import checked_range


class Ranged(Derived):
    """The samples of another source; the values ``value_range`` become 0 and 1 in the views.

    Raises
    ------
    ValueError
        For anything but two numbers, the smaller one first.
    """

    def __init__(self, source: Source, value_range: tuple[float, float]) -> None:
        super().__init__(source, np.arange(len(source)))
        self.images, self._range = source.images, checked_range(value_range)

    @property
    def value_range(self) -> tuple[float, float]:
        """The stored values that become 0 and 1."""
        return self._range
