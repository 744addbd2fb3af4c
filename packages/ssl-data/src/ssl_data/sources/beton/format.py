"""The format of FFCV files, version 2: header, fields, a record per sample, images, table of allocations.

Written by hand since importing FFCV compiles for several seconds and needs OpenCV; tests compare with FFCV's reader and loader.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 2
JPEG, RAW = 0, 1  # modes of an image

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("table_start", "<u8"),
    ],
    align=True,
)
FIELD = np.dtype([("kind", "u1"), ("name", "S16"), ("arguments", "V1024")], align=True)
IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("start", "<u8")])
INTEGER = np.dtype("<i8")
ALLOCATION = np.dtype([("sample", "<u8"), ("start", "<u8"), ("size", "<u8")])

INTEGER_KIND, IMAGE_KIND = 1, 2
_KINDS = {
    0: ("FloatField", np.dtype("<f8")),
    INTEGER_KIND: ("IntField", INTEGER),
    IMAGE_KIND: ("RGBImageField", IMAGE),
    3: ("BytesField", np.dtype([("start", "<u8"), ("size", "<u8")])),
    4: ("NDArrayField", np.dtype("<u8")),
    5: ("JSONField", np.dtype([("start", "<u8"), ("size", "<u8")])),
    6: ("TorchTensorField", np.dtype("<u8")),
}


class Tables(NamedTuple):
    """The tables of a file: ``images`` as IMAGE, ``labels`` ``(M,) int64`` or None, ``allocations``."""

    images: NDArray[np.void]
    labels: NDArray[np.int64] | None
    allocations: NDArray[np.void]


def sample_type(columns: list[np.dtype]) -> np.dtype:
    """Return the type of what a sample has of its fields."""
    return np.dtype([(f"f{number}", column) for number, column in enumerate(columns)], align=True)


def read_tables(path: Path) -> Tables:
    """Return the tables of a file; the first image and the first integer field are taken.

    Raises
    ------
    ValueError
        If it is not such a file, of another version, without an image field, or cut off.
    """
    header = _read(path, HEADER, 1, 0)
    if not len(header) or header["version"][0] != VERSION or not 0 < header["num_fields"][0] < 256:
        version = header["version"][0] if len(header) else "nothing"
        raise ValueError(f"it is not a .beton file of version {VERSION} (its version: {version}); write it again")
    (_, num_fields, _, count, table_start), position = header[0].item(), HEADER.itemsize
    fields = _read(path, FIELD, num_fields, position)
    if len(fields) < num_fields or not set(fields["kind"].tolist()) <= set(_KINDS):
        raise ValueError("it is not a .beton file, or has fields of a kind that FFCV does not know; write it again")
    kinds = fields["kind"].tolist()
    if IMAGE_KIND not in kinds:
        found = ", ".join(
            f"{field['name'].decode(errors='replace')!r} ({_KINDS[field['kind']][0]})" for field in fields
        )
        raise ValueError(f"expected an RGBImageField in the file, found {found}")
    described = _read(path, sample_type([_KINDS[kind][1] for kind in kinds]), count, position + fields.nbytes)
    if count == 0 or len(described) < count:
        raise ValueError(
            f"the file is damaged or cut off: it describes {len(described)} of {count} samples; write it again"
        )
    labels = described[f"f{kinds.index(INTEGER_KIND)}"].astype(np.int64) if INTEGER_KIND in kinds else None
    return Tables(described[f"f{kinds.index(IMAGE_KIND)}"], labels, _read(path, ALLOCATION, -1, table_start))


def _read(path: Path, kind: np.dtype, count: int, start: int) -> NDArray[np.void]:
    """Return up to ``count`` records (-1: all) from byte ``start``, fewer where the file ends."""
    size = path.stat().st_size
    whole = max(0, size - start) // kind.itemsize
    if start >= size:
        return np.zeros(0, kind)
    return np.fromfile(path, kind, whole if count < 0 else min(count, whole), offset=start)
