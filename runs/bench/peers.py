"""Facts about other libraries: installation, import, gradients of two ranks, and kill -9 with resumption.

    python3 runs/bench/peers.py --folder /tmp/peers                    # installs six environments with uv, 2 to 6 GB each
    python3 runs/bench/peers.py --folder /tmp/peers --parts ranks resume

Each peer has an environment of its own; one that exists is used again. solo-learn and VISSL are installed with the newest
Python that their pins allow (3.9 and 3.8, which uv finds on the PATH or downloads), and solo-learn with the packages of its
year. ``peer_child.py`` measures there.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("peer_child.py")
PARTS = ("install", "import", "ranks", "resume")
KILL_STEP = 20  # of 32, in the third epoch of four


@dataclass(frozen=True)
class Peer:
    """How a library is installed and measured."""

    package: str  # the folder in site-packages
    python: str
    specs: tuple[str, ...]
    options: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()  # of peer_child.loss_of
    run: str = ""  # of peer_child.RUNS


PEERS = {
    "stable-ssl": Peer("ssl_core", "3.11", (str(ROOT),), losses=("stable-ssl",), run="stable-ssl"),
    "lightning": Peer("lightning", "3.11", ("lightning==2.6.6",), run="Lightning"),
    "lightly": Peer("lightly", "3.11", ("lightly==1.6.0",), losses=("lightly", "lightly, gather_distributed")),
    "stable-pretraining": Peer(
        "stable_pretraining", "3.11", ("stable-pretraining==0.1.8",), losses=("stable-pretraining",),
        run="stable-pretraining",
    ),
    "solo-learn": Peer(
        "solo", "3.9", ("solo-learn==1.0.2", "setuptools", "six"), ("--exclude-newer", "2021-12-31"), losses=("solo-learn",)
    ),
    "vissl": Peer("vissl", "3.8", ("vissl==0.1.6", "torch==1.9.1", "torchvision==0.10.1", "setuptools<60"), losses=("VISSL",)),
}  # fmt: skip


def install(name: str, folder: Path) -> None:
    """Try the Python of today, then install; print seconds, packages and megabytes."""
    peer, place = PEERS[name], folder / name
    uv = shutil.which("uv") or "uv"
    if peer.python != "3.11":
        trial = folder / f"{name}-3.11"
        subprocess.run([uv, "venv", "-q", "--clear", "--python", "3.11", trial], check=True)
        tried = subprocess.run(
            [uv, "pip", "install", "--python", trial / "bin/python", peer.specs[0]], capture_output=True
        )
        print(f"{name}: Python 3.11, packages of today: {'installs' if tried.returncode == 0 else 'does not install'}")
    if not place.exists():
        subprocess.run([uv, "venv", "-q", "--python", peer.python, place], check=True)
        started = time.perf_counter()
        command = [uv, "pip", "install", "-q", *peer.options, "--python", place / "bin/python", *peer.specs]
        subprocess.run(command, check=True)
        print(f"{name}: installed in {time.perf_counter() - started:.0f} s")
    listed = subprocess.run([uv, "pip", "list", "-q", "--python", place / "bin/python"], capture_output=True, text=True)
    size = sum(path.lstat().st_size for path in place.resolve().rglob("*") if path.is_file() and not path.is_symlink())
    [site] = place.resolve().glob("lib/python*/site-packages")
    lines = sum(
        path.read_text(errors="replace").count("\n")
        for path in (site / peer.package).rglob("*.py")
        if "tests" not in path.parts
    )
    packages = len(listed.stdout.splitlines()) - 2
    print(
        f"{name}: Python {peer.python}, {packages} packages, {size / 2**20:,.0f} MB, {lines:,} lines of {peer.package}"
    )


def python(name: str, folder: Path, *arguments: str) -> str:
    """Return what a command of the environment prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(folder / name / "bin/python"), "-W", "ignore", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def import_time(name: str, folder: Path) -> None:
    code = f"import time; import {PEERS[name].package}; print(time.process_time())"
    times = [float(python(name, folder, "-c", code)) for _ in range(4)][1:]
    print(f"{name}: import {PEERS[name].package}: {statistics.median(times):.1f} s of one core, with the interpreter")


def resume(name: str, folder: Path) -> None:
    """Compare the weights of two uninterrupted runs, and of one that was killed and started again."""

    def weights(place: str, step: int = 0) -> str:
        printed = python(name, folder, str(CHILD), "resume", PEERS[name].run, place, str(step))
        return printed.rpartition("weights ")[2].strip() if "weights " in printed else ""

    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        tempfile.TemporaryDirectory() as third,
    ):
        expected, again = weights(first), weights(second)
        assert weights(third, KILL_STEP) == "", "the run was not killed"
        resumed = weights(third)
    words = "equal" if expected == again else "differ", "equal" if resumed == expected else "differs"
    print(f"{name}: two runs {words[0]}, the resumed one {words[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the environments")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.peers:
        if "install" in arguments.parts:
            install(name, arguments.folder)
        if "import" in arguments.parts:
            import_time(name, arguments.folder)
        for loss in PEERS[name].losses if "ranks" in arguments.parts else ():
            error = python(name, arguments.folder, str(CHILD), "ranks", loss).strip()
            print(f"{loss}: NT-Xent at two ranks, relative error of the gradient {error or '(failed)'}", flush=True)
        if "resume" in arguments.parts and PEERS[name].run:
            resume(name, arguments.folder)


if __name__ == "__main__":
    main()
