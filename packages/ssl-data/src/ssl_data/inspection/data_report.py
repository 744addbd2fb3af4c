"""The report of a data set: what :func:`ssl_data.describe` returns. It is made without torch."""

import textwrap
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WIDTH = 100  # characters of a line
_SHOWN = 3  # names of a line
_CLASSES = 12  # up to which their names are shown
_LONGEST = 160  # characters of the reason why a sample cannot be read


class Unreadable(NamedTuple):
    """A sample that cannot be read."""

    name: str  # its file, or its place in the data set
    reason: str


class Duplicate(NamedTuple):
    """Two samples with the same content."""

    name: str
    first: str  # the sample that it repeats


@dataclass(frozen=True, repr=False)
class PartReport:
    """One part of a data set, such as its training images. Lists of names have at most ``MAX_NAMES`` entries."""

    name: str
    num_samples: int
    num_read: int  # samples that were tried: all, or those of ``samples``
    are_images: bool  # else tensors, arrays or other objects
    shapes: dict[tuple[int, ...], int]  # (H, W, C) of images, or the shape of a sample -> how many; most frequent first
    dtypes: dict[str, int]  # "uint8" -> how many
    class_counts: dict[str, int]  # name -> samples, of all samples; in the order of the labels
    num_unlabelled: int
    num_unreadable: int
    unreadable: list[Unreadable] = field(default_factory=list)
    num_duplicates: int | None = 0  # samples that repeat an earlier one of this part; None: samples differ at each call
    num_conflicts: int = 0  # of them those with another label than the sample that they repeat
    duplicates: list[Duplicate] = field(default_factory=list)
    num_constant: int = 0  # samples whose bands have one value each
    constant: list[str] = field(default_factory=list)
    num_not_finite: int = 0  # samples with NaN or infinity
    not_finite: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]] | None:
        """Minimum, median and maximum of each dimension; of images (height, width). None without shapes of one length."""
        axes = {len(shape) for shape in self.shapes}
        if len(axes) != 1 or axes == {0}:
            return None
        counts = list(self.shapes.values())
        table = np.array(list(self.shapes))[:, : 2 if self.are_images else None]
        lows, highs = table.min(0).tolist(), table.max(0).tolist()
        medians = tuple(float(_median(column, counts)) for column in table.T)
        return tuple(lows), medians, tuple(highs)

    @property
    def bands(self) -> dict[int, int]:
        """Number of bands of an image -> how many images; empty for other samples."""
        found: dict[int, int] = {}
        for shape, count in self.shapes.items():
            if self.are_images:
                found[shape[2]] = found.get(shape[2], 0) + count
        return found

    @property
    def imbalance(self) -> float | None:
        """Samples of the most frequent class over those of the rarest one that has any; None without labels."""
        counts = [count for count in self.class_counts.values() if count]
        return max(counts) / min(counts) if counts else None

    def __str__(self) -> str:
        noun = "image" if self.are_images else "sample"
        read = f"; {self.num_read:,} of them were read" if self.num_read < self.num_samples else ""
        lines = [
            f"{self.name}: {_counted(self.num_samples, noun)}, {self._described_sizes()}{read}",
            *self._class_lines(noun),
            f"unreadable: {_named(self.num_unreadable, [f'{each.name} ({_cut(each.reason)})' for each in self.unreadable])}",
            self._duplicate_line(noun),
        ]
        if self.num_constant:
            lines.append(f"of one value: {_named(self.num_constant, self.constant)}")
        if self.num_not_finite:
            lines.append(f"with NaN or infinity: {_named(self.num_not_finite, self.not_finite)}")
        return "\n  ".join(lines)

    __repr__ = __str__

    def _described_sizes(self) -> str:
        kinds = ", ".join(self.dtypes)
        if not self.shapes:
            return "none could be read" if self.num_unreadable else "no sample was read"
        if self.are_images:
            bands = self.bands
            several = ", ".join(f"{count:,} of {number}" for number, count in bands.items())
            kinds = f"{_counted(next(iter(bands)), 'band') if len(bands) == 1 else f'bands: {several},'} of {kinds}"
        if self.sizes is None:
            shapes = ", ".join(f"{count:,} of {shape}" for shape, count in [*self.shapes.items()][:_SHOWN])
            return f"shapes: {shapes}, of {kinds}" if any(self.shapes) else f"of type {kinds}"
        low, middle, high = self.sizes
        if low == high:
            return f"{low[0]} x {low[1]} pixels, {kinds}" if self.are_images else f"shape {_tuple(low)} of {kinds}"
        names = ["height", "width"] if self.are_images else [f"dimension {number}" for number in range(len(low))]
        ranges = [
            f"{name} {a:,}" if a == b else f"{name} {a:,} to {b:,} (median {m:,g})"
            for name, a, m, b in zip(names, low, middle, high)
        ]
        return f"{', '.join(ranges)}, {kinds}"

    def _class_lines(self, noun: str) -> list[str]:
        counts = {name: count for name, count in self.class_counts.items() if count}
        lines = []
        if counts:
            few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            names = f": {', '.join(counts)}" if len(counts) <= _CLASSES else ""
            if counts[few] == counts[many]:
                spread = f"{_counted(counts[few], noun)}{' each' * (len(counts) > 1)}"
            else:
                spread = (
                    f"{counts[few]:,} ({few!r}) to {counts[many]:,} ({many!r}), imbalance {self.imbalance:.3g}, "
                    f"median {np.median(list(counts.values())):,g}"
                )
            lines.append(f"classes: {len(counts):,} with {spread}{names}")
        empty = [name for name, count in self.class_counts.items() if not count]
        if empty:
            lines.append(f"classes without a sample: {_named(len(empty), list(map(repr, empty)))}")
        if self.num_unlabelled:
            lines.append(f"labels: {'none' if not counts else f'{self.num_unlabelled:,} have none'}")
        return lines

    def _duplicate_line(self, noun: str) -> str:
        if self.num_duplicates is None:
            return "duplicates: unknown, since a sample differs from one call to the next"
        conflicts = f", {self.num_conflicts:,} with another label" if self.num_conflicts else ""
        pairs = [f"{each.name} = {each.first}" for each in self.duplicates]
        return f"duplicates: {_named(self.num_duplicates, pairs, f' repeat another {noun}{conflicts}')}"


@dataclass(frozen=True, repr=False)
class SharedSamples:
    """Samples that two parts have in common: their decoded pixels, shape and type are equal."""

    part: str
    other: str
    num_shared: int
    pairs: list[Duplicate] = field(default_factory=list)

    def __str__(self) -> str:
        pairs = [f"{each.name} = {each.first}" for each in self.pairs]
        return f"samples of {self.part} that are also in {self.other}: {_named(self.num_shared, pairs)}"

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class DataReport:
    """The report of a data set. ``print(report)`` shows it in short lines."""

    parts: dict[str, PartReport]  # name -> report: train, reference (where there is one), and each evaluation
    shared: list[SharedSamples]  # of each evaluation with the training samples
    streams: list[str] = field(default_factory=list)  # parts that have no samples by position, and were not read

    @property
    def num_unreadable(self) -> int:
        """Samples of all parts that cannot be read."""
        return sum(part.num_unreadable for part in self.parts.values())

    def __str__(self) -> str:
        streams = [f"{name}: a stream or loader, whose samples are not read" for name in self.streams]
        lines = "\n".join(map(str, [*streams, *self.parts.values(), *self.shared])).splitlines()
        fill = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
        wrapped = []
        for line in lines:
            fill.initial_indent = line[: len(line) - len(line.lstrip())]
            fill.subsequent_indent = f"{fill.initial_indent}  "
            wrapped += fill.wrap(line.strip())
        return "\n".join(wrapped)

    __repr__ = __str__


def _median(values: np.ndarray, counts: list[int]) -> float:
    """Return the median of values that occur several times."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(np.asarray(counts)[order])
    middle = [(upto[-1] - 1) // 2, upto[-1] // 2]
    return float(values[order][np.searchsorted(upto, middle, side="right")].mean())


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _named(number: int, names: list[str], what: str = "") -> str:
    """Return a number with some names: ``3: 'a', 'b', ...``."""
    if not number:
        return "none"
    rest = ", ..." if number > len(names[:_SHOWN]) else ""
    return f"{number:,}{what}{': ' if names else ''}{', '.join(names[:_SHOWN])}{rest}"


def _tuple(numbers: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, numbers))}{',' if len(numbers) == 1 else ''})"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 4]} ..."
