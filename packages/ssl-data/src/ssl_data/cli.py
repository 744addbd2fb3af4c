"""The command ``ssl-data``: ``ssl-data write-beton SOURCE FILE`` converts any source into FFCV's format."""

import argparse
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ssl_data.dataset_names import DATASETS
from ssl_data.suggestion import did_you_mean

if TYPE_CHECKING:
    from ssl_data.sources import Source

_BY_NAME = [name for name in DATASETS if name not in ("ImageFolder", "Beton", "huggingface", "objects")]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line instead of the usage."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None, prog: str = "ssl-data", command: str = "write-beton") -> int:
    """Run the command and return its exit code: 1 if it failed, 2 for wrong arguments, 130 if interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    prog, command : str
        What the user types, for help and messages.
    """
    parser, write = _parsers(prog, command)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        hint = did_you_mean(unknown[0].partition("=")[0], write._option_string_actions) or f"; see {write.prog} --help"
        write.exit(2, f"{write.prog}: {unknown[0]}: unknown option{hint}\n")
    try:
        _write_beton(options)
    except (OSError, ValueError, ImportError) as error:
        # Sources name their argument, the command has an option
        print(f"{prog}: {str(error).replace('on_error=skip', '--on-error skip')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted, nothing was left behind", file=sys.stderr)
        return 130
    return 0


def _write_beton(options: argparse.Namespace) -> None:
    from ssl_data.loading.threads import bounded_threads
    from ssl_data.sources import write_beton
    from ssl_data.sources.lazy import StoredSource

    threads = bounded_threads(options.num_workers)
    source = open_source(
        options.source, options.root, {"on_error": options.on_error, "skip_limit": options.skip_limit, "memory": 0}
    )
    mode = options.mode or ("jpg" if source.images is None else "raw")
    write_beton(source, options.file, mode, options.quality, threads, options.page_size, progress=not options.quiet)
    skipped = len(source.skipped) if isinstance(source, StoredSource) else 0
    size = Path(options.file).stat().st_size
    print(
        f"{options.file}: {len(source):,} images as {mode}, {size / 1e6:,.1f} MB"
        f"{f', {skipped} of them replaced, see above' if skipped else ''}"
    )


def open_source(name: str, root: str, options: dict[str, Any]) -> "Source":
    """Return the source that a word on the command line names: a folder, a ``.beton`` or ``.npz`` file, a data set.

    Raises
    ------
    ValueError
        For any other word.
    FileNotFoundError
        If the data set is not there.
    """
    from ssl_data.datasets import open_dataset
    from ssl_data.sources import ArraySource, BetonSource, FolderSource, ShardSource

    path = Path(name)
    if path.is_dir():
        return FolderSource(path, **options)
    if path.suffix == ".beton":
        return BetonSource(path, **options)
    if path.suffix == ".tar":
        return ShardSource(name, **options)
    if path.suffix == ".npz":
        return ArraySource(*_arrays(path))
    dataset, _, split = name.partition(":")
    if dataset not in _BY_NAME:
        raise ValueError(
            f"SOURCE={name!r}: expected a folder, a .beton, .tar or .npz file, or one of {', '.join(_BY_NAME)} (:test for its "
            "test images)"
        )
    parts = open_dataset(dataset, root, "" if split in ("", "train", "test") else split, download=True)
    return parts.test if split == "test" else parts.train


def _arrays(path: Path) -> tuple[Any, Any]:
    """Return the arrays ``images`` and ``labels`` (None where it is missing) of a .npz file."""
    import numpy as np

    try:
        # Opened here, since numpy leaves a damaged file open; a pickle could name any function to call
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file if name in ("images", "labels")}
            names = list(file)
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: it is damaged or cut off: {error}; write it again") from error
    if "images" not in arrays:
        raise ValueError(f"{path}: expected the arrays 'images' and 'labels', found {', '.join(names) or 'nothing'}")
    return arrays["images"], arrays.get("labels")


def _parsers(prog: str, command: str) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = _Parser(prog=prog, description="Sources, views and loaders for self-supervised learning.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    write = commands.add_parser(
        command,
        help="convert any source into FFCV's format",
        description="Convert any source into FFCV's format. FILE appears only when it is complete: an interrupted, "
        "killed or full-disk conversion leaves nothing behind.",
    )
    write.add_argument(
        "source", metavar="SOURCE", help="a folder (of class folders, or of images), a .beton file, shards of WebDataset "
        "('train-*.tar'), a .npz file with images (M, H, W, C) uint8 and labels (M,), or a data set by name, such as CIFAR10, "
        "CIFAR10:test or STL10:unlabeled",
    )  # fmt: skip
    write.add_argument("file", metavar="FILE", help="what to write, such as train.beton")
    write.add_argument(
        "--mode", choices=("raw", "jpg"),
        help="store pixels, or JPEG (files that are JPEG stay as they are); default: raw for arrays in memory, else jpg",
    )  # fmt: skip
    write.add_argument("--quality", type=int, default=95, help="of the compression, 1 to 100 (default: %(default)s)")
    write.add_argument("--page-size", type=int, default=2**23, help="bytes, a power of two; larger than any sample")
    write.add_argument("--root", default=os.environ.get("SSL_DATA_ROOT", "data"), help="folder of the named data sets")
    write.add_argument("--on-error", choices=("raise", "skip"), default="raise", help="at an unreadable sample")
    write.add_argument("--skip-limit", type=float, default=0.01, help="share of the samples that skip may replace")
    write.add_argument("--num-workers", type=int, default=0, help="threads; 0: one for each processor")
    write.add_argument("--quiet", action="store_true", help="show no progress")
    return parser, write
