"""The image files below a folder.

Written by hand since ``os.walk``, and so torchvision's ``ImageFolder``, follows links in circles, and lists pipes as images.
"""

import os
import stat
from collections import Counter
from operator import attrgetter
from pathlib import Path

from PIL import Image

#: Formats that Pillow registers without decoding them itself: stubs for other libraries, and EPS, which starts Ghostscript.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
#: Left by file browsers.
_CLUTTER = {"thumbs.db", "desktop.ini"}


def image_extensions(pixels: str = "rgb8") -> tuple[str, ...]:
    """Return the file extensions that the installed Pillow decodes, in lower case; with ``pixels="stored"`` .npy, too."""
    known = Image.registered_extensions()  # loads all plug-ins
    decoded = [extension for extension, name in known.items() if name in Image.OPEN and name not in _NOT_DECODED]
    return (*decoded, ".mpo", *([".npy"] if pixels == "stored" else []))  # .mpo is read by the plug-in for JPEG


def list_images(folder: Path, ignored: Counter[str], pixels: str = "rgb8") -> list[str]:
    """Return the image files below a folder, sorted part by part of their paths.

    Symbolic links are followed, except to a folder that contains the link. A link to a missing file is listed if its name is
    that of an image: it is an unreadable image. Names that begin with a dot are left out.

    Parameters
    ----------
    folder : Path
        Where to look.
    ignored : Counter
        Counts what is not listed, by kind: an extension, ``"special files"``, ``"links to a folder that contains them"``.
    pixels : {"rgb8", "stored"}
        As for :class:`ssl_data.FolderSource`.

    Raises
    ------
    OSError
        If a folder cannot be listed.
    """
    extensions = set(image_extensions(pixels))
    found: list[str] = []
    above = {_identity(os.stat(parent)) for parent in folder.resolve().parents}
    _walk(os.fspath(folder), above, found, extensions, ignored)
    return found


def _walk(
    folder: str, above: set[tuple[int, int]], found: list[str], extensions: set[str], ignored: Counter[str]
) -> None:
    within = above | {_identity(os.stat(folder))}
    with os.scandir(folder) as unsorted:
        entries = sorted(unsorted, key=attrgetter("name"))  # cheaper than all paths at the end
    for entry in entries:
        name = entry.name
        if name.startswith(".") or name.lower() in _CLUTTER:
            continue
        if entry.is_dir():  # follows links; of a plain file it asks the file system nothing
            if entry.is_symlink() and _identity(entry.stat()) in within:
                ignored["links to a folder that contains them"] += 1
            else:
                _walk(entry.path, within, found, extensions, ignored)
            continue
        extension = os.path.splitext(name)[1].lower()
        if not entry.is_file() and not _is_broken(entry):
            ignored["special files"] += 1  # pipes, sockets, devices: reading them may never end
        elif extension in extensions:
            found.append(entry.path)
        else:
            ignored[extension or "no extension"] += 1


def _is_broken(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a link to something that is not there."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a pipe, a socket, a device or a folder, which cannot be read as a file.

    Raises
    ------
    OSError
        If there is nothing at the path.
    """
    return not stat.S_ISREG(os.stat(path).st_mode)


def described(ignored: Counter[str]) -> str:
    """Return counts in words, such as ``"3 files: 2 x .txt, 1 x .npy"``.

    Examples
    --------
    >>> described(Counter({".txt": 2, ".npy": 1}))
    '3 files: 2 x .txt, 1 x .npy'
    """
    kinds = [f"{count:,} x {kind}" for kind, count in ignored.most_common(8)]
    rest = len(ignored) - len(kinds)
    total = ignored.total()
    return (
        f"{total:,} {'file' if total == 1 else 'files'}: {', '.join(kinds)}{f' and {rest} more kinds' if rest else ''}"
    )
