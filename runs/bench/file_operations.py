"""File-system operations of a run: at its start, for each epoch and for each image, counted by ``strace``.

    python3 runs/bench/file_operations.py                       # about four minutes of one core

Counted are the calls that a file server answers: open, stat, readlink, directory listings, rename, unlink, mkdir, fsync; not
reads and writes of open files. A run with more epochs, or with more images in its folder, gives the part of each by
subtraction. Every rank is a process with imports of its own; the operations of the run folder are those of rank 0.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = {
    "open": ("open", "openat", "openat2"), "stat": ("stat", "lstat", "newfstatat", "statx", "access", "faccessat2"),
    "readlink": ("readlink", "readlinkat"), "list": ("getdents64",), "fsync": ("fsync", "fdatasync"),
    "rename, unlink, mkdir": ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
}  # fmt: skip
SMALL = [
    "model.name=simclr", "model.backbone=resnet9", "model.backbone_options={width: 2}", "optim.batch_size=32",
    "optim.warmup_epochs=0", "hardware.num_threads=1", "data.num_workers=1", "log.report=false", "data.views=simclr",
    "log.checkpoint_every=1", "log.eval_every=1",
]  # fmt: skip


def counted(command: list[str]) -> dict[str, int]:
    """Return the calls of a command and of its threads by kind."""
    with tempfile.NamedTemporaryFile(suffix=".strace") as log:
        names = ",".join(name for kind in KINDS.values() for name in kind)
        trace = ["strace", "--seccomp-bpf", "-f", "-c", "-e", f"trace={names}", "-o", log.name]
        subprocess.run([*trace, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", Path(log.name).read_text(), re.MULTILINE)
    found = {name: int(calls) for calls, name in lines}
    return {kind: sum(found.get(name, 0) for name in members) for kind, members in KINDS.items()}


def images(folder: Path, count: int) -> Path:
    """Write ``count`` training and 20 test images of two classes."""
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("test", 20)):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for index in range(number // 2):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6, help="of the longer run; the shorter one has one")
    parser.add_argument("--images", type=int, default=640, help="of the larger folder; the smaller one has 64")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        few, many = images(Path(place) / "few", 64), images(Path(place) / "many", options.images)

        def run(name: str, epochs: int, root: Path) -> dict[str, int]:
            own = [f"log.folder={place}/out", f"log.run={name}", f"optim.epochs={epochs}", "data.dataset=ImageFolder"]
            program = [sys.executable, "-m", "ssl_launch", "train", *SMALL, *own, f"data.root={root}", "data.size=16"]
            return counted(program)

        modules = "import ssl_launch.hydra_app.app, ssl_core, ssl_data, ssl_core.methods.simclr"
        imports = counted([sys.executable, "-c", modules])
        run("cached", 1, few)  # compiles what numba keeps
        one, more, larger = run("one", 1, few), run("more", options.epochs, few), run("larger", 1, many)
    rows = {
        "imports of a process": imports,
        "start and first epoch, 64 images": one,
        "start beyond these imports": {kind: one[kind] - imports[kind] for kind in KINDS},
        "one more epoch, with checkpoint": {kind: (more[kind] - one[kind]) / (options.epochs - 1) for kind in KINDS},
        "one more image, start and epoch": {kind: (larger[kind] - one[kind]) / (options.images - 64) for kind in KINDS},
    }
    print(f"{'':34}" + "".join(f"{kind:>23}" for kind in KINDS))
    for name, row in rows.items():
        print(f"{name:34}" + "".join(f"{row[kind]:23,.2f}" for kind in KINDS))


if __name__ == "__main__":
    main()
