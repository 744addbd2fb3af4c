"""Samples a second, two SimCLR views each: ours against torchvision, lightly and FFCV, and against what the machine allows.

    python3 runs/bench/data.py --thumbnails ../shared/data/cifar10.tar.gz --photographs ../shared/data/imagenet-sample.tar
    python3 runs/bench/data.py --thumbnails ../shared/data/cifar10.tar.gz

The archives hold ``<root>/<part>/<class>/*.jpg``. Every contender has a process of its own, and they take turns. FFCV must be
installed (``SSL_FFCV=1 hatch run ...``); give the machine to it alone.
"""

import argparse
import datetime
import importlib.metadata
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import photographs
import thumbnails
from process_timing import processors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thumbnails", type=Path, help="archive of images of 32 pixels")
    parser.add_argument("--photographs", type=Path, help="archive of photographs")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each contender")
    arguments = parser.parse_args()
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "numba", "lightly", "ffcv")
    ]
    print(
        f"{datetime.date.today()}, {processors()}; Python {sys.version.split()[0]}, {', '.join(versions)}", flush=True
    )
    for part, archive in ((thumbnails, arguments.thumbnails), (photographs, arguments.photographs)):
        if archive is not None:
            with tempfile.TemporaryDirectory() as folder:
                part.prepare(archive, Path(folder))
                print(f"\n{part.__doc__}\n{part.run(arguments.seconds, arguments.repetitions)}", flush=True)


if __name__ == "__main__":
    main()
