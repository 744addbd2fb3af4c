"""Decoders of JPEG in turns in one process: time, pixels, interpreter's lock, and two SimCLR views at 224 pixels.

    python3 runs/bench/jpeg_decoders.py ../shared/data/imagenet-sample.tar

The archive holds ``<root>/<class>/*.JPEG``. Missing contenders are skipped; all need ``pip install imagecodecs
opencv-python-headless ffcv 'PyTurboJPEG<2'`` and libturbojpeg (PyTurboJPEG 2 requires its version 3). Times are processor
time, of all threads.
"""

import argparse
import ctypes
import datetime
import importlib.metadata
import importlib.util
import io
import itertools
import statistics
import sys
import tarfile
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import torchvision.io
from PIL import Image

from ssl_data import BetonSource, FolderSource, Loader, views, write_beton
from ssl_data.sources.files.decode import pixels
from ssl_data.sources.files.jpeg import decode_jpeg

sys.path.insert(0, str(Path(__file__).parent))

from process_timing import processors

Decoder = Callable[[np.ndarray, int, int, int], np.ndarray]  # (bytes, height, width, shrink) -> image
BINDING, OURS_FAST, OURS = "binding to FFCV's library", "simplejpeg, fast DCT", "simplejpeg, accurate DCT"
SCALED = (BINDING, OURS_FAST, OURS, "PyTurboJPEG, fast DCT")  # can decode at 1/2, 1/4, 1/8
SIZE, BATCH = 224, 50


def ffcv_binding() -> Decoder:
    """Return the decoder of the library that FFCV builds, which ssl-data used before simplejpeg."""
    spec = importlib.util.find_spec("ffcv")
    if spec is None or not spec.origin:
        raise ImportError("ffcv is not installed")
    library = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("_libffcv*"))))
    pointer: Any = ctypes.c_void_p
    library.tjInitDecompress.restype = pointer
    library.tjDestroy.argtypes = [pointer]
    library.tjDecompressHeader3.argtypes = [pointer, pointer, ctypes.c_ulong] + 4 * [ctypes.POINTER(ctypes.c_int)]
    library.tjDecompress2.argtypes = [pointer, pointer, ctypes.c_ulong, pointer] + 5 * [ctypes.c_int]

    def decode(stored: np.ndarray, height: int, width: int, shrink: int) -> np.ndarray:
        source, size, found = stored.ctypes.data, len(stored), [ctypes.c_int() for _ in range(4)]
        decoder = library.tjInitDecompress()
        library.tjDecompressHeader3(decoder, source, size, *map(ctypes.byref, found))
        image = np.empty((-(-height // shrink), -(-width // shrink), 3), np.uint8)
        rows, columns, _ = image.shape
        library.tjDecompress2(decoder, source, size, image.ctypes.data, columns, 0, rows, 0, 2048)  # RGB, fast DCT
        library.tjDestroy(decoder)
        return image

    return decode


def pyturbojpeg() -> Decoder:
    from turbojpeg import TJFLAG_FASTDCT, TJPF_RGB, TurboJPEG

    library = TurboJPEG()

    def decode(stored: np.ndarray, height: int, width: int, shrink: int) -> np.ndarray:
        factor = None if shrink == 1 else (1, shrink)
        return library.decode(stored, pixel_format=TJPF_RGB, scaling_factor=factor, flags=TJFLAG_FASTDCT)

    return decode


def imagecodecs() -> Decoder:
    from imagecodecs import jpeg8_decode

    return lambda stored, *_: jpeg8_decode(stored, outcolorspace="RGB")


def opencv() -> Decoder:
    import cv2

    cv2.setNumThreads(1)
    return lambda stored, *_: cv2.imdecode(stored, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def with_torchvision(stored: np.ndarray, *_: int) -> np.ndarray:
    """Decode with ``torchvision.io``, to the layout of the others: (H, W, 3)."""
    return (
        torchvision.io.decode_jpeg(torch.from_numpy(stored), torchvision.io.ImageReadMode.RGB).permute(1, 2, 0).numpy()
    )


def contenders() -> dict[str, Decoder]:
    """Return the decoders that are installed, by name."""
    found: dict[str, Decoder] = {}
    for name, build in ((BINDING, ffcv_binding), ("PyTurboJPEG, fast DCT", pyturbojpeg)):
        with suppress(ImportError, RuntimeError):
            found[name] = build()
    found[OURS_FAST] = lambda stored, height, width, shrink: decode_jpeg(stored, height, width, shrink, fast=True)
    found[OURS] = lambda stored, height, width, shrink: decode_jpeg(stored, height, width, shrink)
    found["Pillow"] = lambda stored, *_: np.asarray(Image.open(io.BytesIO(stored.data)).convert("RGB"))
    found["torchvision.io"] = with_torchvision
    for name, build in (("imagecodecs", imagecodecs), ("OpenCV", opencv)):
        with suppress(ImportError):
            found[name] = build()
    return found


def in_turns(calls: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return processor seconds and wall seconds of each turn of each call; the first turn is not counted."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    for turn, (name, call) in itertools.product(range(repetitions + 1), calls.items()):
        processor, wall = time.process_time(), time.perf_counter()
        call()
        if turn:
            times[name][0].append(time.process_time() - processor)
            times[name][1].append(time.perf_counter() - wall)
    return times


def ratio(times: list[float], baseline: list[float]) -> str:
    """Return the median of the ratios of the turns, and their range."""
    ratios = [own / other for own, other in zip(times, baseline)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def holds_the_lock(decode: Decoder) -> bool:
    """Return whether Python code of another thread waits while an image of 30 megapixels is decoded."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.tile(noise, (12, 10, 1))).save(file, "jpeg", quality=75)
    stored, shares = np.frombuffer(file.getvalue(), np.uint8), []
    for _ in range(3):
        thread = threading.Thread(target=decode, args=(stored, 6000, 5000, 1))
        begin = last = time.perf_counter()
        longest = 0.0
        thread.start()
        while thread.is_alive():
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        shares.append(longest / (time.perf_counter() - begin))
    return min(shares) > 0.5


def decoding_table(files: list[tuple[np.ndarray, int, int]], repetitions: int) -> Iterator[str]:
    """Yield a line for each decoder."""
    decoders = contenders()
    baseline = BINDING if BINDING in decoders else OURS_FAST
    references = {name: [decoders[name](*file, 1) for file in files] for name in (baseline, "Pillow")}
    single = in_turns(
        {name: lambda d=decode: [d(*file, 1) for file in files] for name, decode in decoders.items()}, repetitions
    )
    quarter = in_turns(
        {name: lambda d=decode: [d(*file, 4) for file in files] for name, decode in decoders.items() if name in SCALED},
        repetitions,
    )
    with ThreadPoolExecutor(2) as pool:
        double = in_turns(
            {
                name: lambda d=decode: list(pool.map(lambda file: d(*file, 1), files))
                for name, decode in decoders.items()
            },
            repetitions,
        )
    yield f"{'':28}ms/image  of the binding        two threads, speed  lock      1/4 size, ms  equal to binding, to Pillow"
    for name, decode in decoders.items():
        milliseconds = 1e3 * statistics.median(single[name][0]) / len(files)
        images = [decode(*file, 1) for file in files]
        equal = [sum(map(np.array_equal, images, references[other])) for other in (baseline, "Pillow")]
        scaled = f"{1e3 * statistics.median(quarter[name][0]) / len(files):.2f}" if name in SCALED else "no"
        faster = statistics.median(single[name][1]) / statistics.median(double[name][1])
        yield (
            f"{name:28}{milliseconds:8.2f}  {ratio(single[name][0], single[baseline][0]):22}{faster:17.2f} x  "
            f"{'held' if holds_the_lock(decode) else 'released':8}{scaled:>14}  {equal[0]:16} {equal[1]:10}"
        )


class Decoded(BetonSource):
    """A ``.beton`` file whose JPEG images are decoded by a contender."""

    def __init__(self, path: Path, decoder: Decoder) -> None:
        self.decoder = decoder
        super().__init__(path, memory=0)

    def _read(self, position: int, shrink: int = 1) -> np.ndarray:
        return self.decoder(self._stored(position), *self.size(position), shrink)


class WithPillow(FolderSource):
    """A folder whose images are all decoded by Pillow."""

    def _read(self, position: int) -> np.ndarray:
        with Image.open(self.paths[position]) as opened:
            return pixels(opened)


def views_table(sources: dict[str, Any], num_workers: int, repetitions: int) -> Iterator[str]:
    """Yield a line for each source: two SimCLR views of each image; the first source is the baseline."""
    specs = views("simclr", size=SIZE)
    loaders = {name: Loader(source, specs, BATCH, num_workers=num_workers) for name, source in sources.items()}
    times = in_turns(
        {name: lambda each=each: [len(batch[1]) for batch in each] for name, each in loaders.items()}, repetitions
    )
    first = next(iter(sources))
    yield f"{f'two views, {num_workers} threads':40}ms/image  of {first}"
    for name, loader in loaders.items():
        milliseconds = 1e3 * statistics.median(times[name][0]) / (len(loader) * BATCH)
        yield f"{name:40}{milliseconds:8.2f}  {ratio(times[name][0], times[first][0])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--repetitions", type=int, default=7, help="turns of each contender")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # torchvision.io only reads it
    names = ("torch", "torchvision", "pillow", "simplejpeg", "imagecodecs", "PyTurboJPEG", "opencv-python", "ffcv")
    versions = []
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    print(f"{datetime.date.today()}, {processors()}; Python {sys.version.split()[0]}, {', '.join(versions)}\n")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(arguments.archive) as tar:
        tar.extractall(folder, filter="data")
        (root,) = Path(folder).iterdir()
        stored = [np.fromfile(path, np.uint8) for path in sorted(root.glob("*/*"))]
        files = [(each, *simplejpeg.decode_jpeg_header(each)[:2]) for each in stored]
        for line in decoding_table(files, arguments.repetitions):
            print(line, flush=True)
        beton = root / "photographs.beton"
        write_beton(FolderSource(root, memory=0), beton, mode="jpg")
        decoders = contenders()
        names = [name for name in (BINDING, OURS_FAST, OURS, "torchvision.io", "Pillow") if name in decoders]
        for num_workers in (1, 2):
            sources = {f".beton, {name}": Decoded(beton, decoders[name]) for name in names}
            folders = {
                "folder, Pillow": WithPillow(root, memory=0),
                "folder, FolderSource": FolderSource(root, memory=0),
            }
            for part in (sources, folders):
                print("\n" + "\n".join(views_table(part, num_workers, arguments.repetitions)), flush=True)


if __name__ == "__main__":
    main()
