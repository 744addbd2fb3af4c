"""``stable-ssl doctor``: what this machine has, what it lacks, and what to do about each. No torch is imported."""

import ctypes
import importlib.util
import json
import netrc
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ssl_core.run.environment import num_processors, processor_features, processor_name, versions
from ssl_launch.cli.parser import CommandParser

DESCRIPTION = """Say what this machine has, and what to do about what it lacks.

  ok       as it should be
  could    a run works without it; what it would bring, and how
  must     a run would fail, or waste the machine; how to mend it

Exit code: 0 where nothing is a must, else 1."""
SECONDS = 5.0  # that a command of the system may take to answer
LEAST_GB = 2.0  # free, for the checkpoints of a small model


@dataclass
class Finding:
    """One thing that was looked at."""

    state: str  # ok, could or must
    what: str
    found: str
    advice: str = ""


def main(arguments: Sequence[str]) -> int:
    """Print the findings; return 1 if one of them is a must."""
    chosen = _parser().parse(arguments)
    findings = list(examine(Path(chosen.folder)))
    if chosen.json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            print(f"{each.state:6} {each.what:10} {each.found}")
            if each.advice:
                print(f"{'':17} -> {each.advice}")
    return int(any(each.state == "must" for each in findings))


def _parser() -> CommandParser:
    parser = CommandParser("doctor", DESCRIPTION)
    parser.add_argument(
        "--folder", default="outputs", metavar="FOLDER", help="of the runs, whose disk is looked at (outputs)"
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")
    return parser


def options() -> list[str]:
    """Return the options, for the shell's completion."""
    return _parser().options()


def examine(folder: Path) -> Iterator[Finding]:
    """Look at everything, one thing after the other."""
    yield from _packages(versions())
    yield from _processor(processor_features(), num_processors(), os.environ.get("OMP_NUM_THREADS"))
    yield from _gpu()
    yield from _ffcv()
    yield from _compiler()
    yield from _slurm()
    yield from _disk(folder)
    yield from _wandb()


def _packages(found: dict[str, str]) -> Iterator[Finding]:
    ours = {name: version for name, version in found.items() if name.startswith("ssl-")}
    theirs = ", ".join(f"{name} {version}" for name, version in found.items() if name not in ours)
    strangers = [f"{name} {version}" for name, version in ours.items() if version.startswith("0")]
    missing = [name for name in ("ssl-core", "ssl-data", "ssl-losses", "ssl-eval", "ssl-launch") if name not in ours]
    said = ", ".join(f"{name} {version}" for name, version in ours.items())
    if strangers or missing:
        wrong = ", ".join(
            [*(f"{each} is somebody else's" for each in strangers), *(f"{each} is missing" for each in missing)]
        )
        yield Finding("must", "packages", f"{said}: {wrong}", "install from the checkout: pip install -e .")
    else:
        yield Finding("ok", "packages", said)
    state = "ok" if "torch" in found else "must"
    yield Finding(state, "versions", theirs, "" if state == "ok" else "pip install torch torchvision")


def _processor(features: list[str], count: int, omp: str | None) -> Iterator[Finding]:
    said = f"{processor_name()}: {', '.join(features) or 'none of avx2, avx512f, amx'}"
    if any("bf16" in each for each in features):
        yield Finding("ok", "processor", f"{said}; bf16 is fast")
    else:
        yield Finding(
            "could",
            "processor",
            said,
            "without avx512_bf16 or amx_bf16 a run computes in fp32 here, about half as fast",
        )
    if omp is not None and omp.isdigit() and int(omp) < count:
        yield Finding(
            "could", "threads", f"{count} processors, OMP_NUM_THREADS={omp}",
            f"unset OMP_NUM_THREADS, or ++hardware.num_threads={count}: torch uses {omp} of them",
        )  # fmt: skip
    else:
        yield Finding("ok", "threads", f"{count} processors for this process")


def _gpu() -> Iterator[Finding]:
    seen = _said("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    torch = importlib.util.find_spec("torch")
    text = Path(torch.origin).with_name("version.py").read_text() if torch and torch.origin else ""
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", text, flags=re.MULTILINE)
    if not seen:
        yield Finding(
            "could",
            "gpu",
            "none that nvidia-smi shows",
            "runs train on the processor; hardware.device=auto takes a GPU where there is one",
        )
    elif cuda is None:
        yield Finding(
            "must",
            "gpu",
            "; ".join(seen.splitlines()),
            "this torch is a build for processors only: pip install torch from its usual index",
        )
    else:
        yield Finding("ok", "gpu", f"{'; '.join(seen.splitlines())}; torch for CUDA {cuda[1]}")


def _ffcv() -> Iterator[Finding]:
    advice = "apt-get install pkg-config libopencv-dev libturbojpeg0-dev, then pip install '.[ffcv]'"
    spec = importlib.util.find_spec("ffcv")
    if spec is None or spec.origin is None:
        yield Finding("could", "ffcv", "not installed: .beton files cannot be written by ssl-data", advice)
        return
    libraries = [*Path(spec.origin).parent.glob("*.so"), *Path(spec.origin).parent.parent.glob("*_libffcv*.so")]
    try:
        for library in libraries:
            ctypes.CDLL(str(library))
    except OSError as error:
        yield Finding("must", "ffcv", f"installed, but it does not load: {error}", advice)
        return
    yield Finding("ok", "ffcv", "installed, and its libraries load")


def _compiler() -> Iterator[Finding]:
    found = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    if found:
        yield Finding("ok", "compiler", f"{found}: hardware.compile=true works on the processor")
    else:
        yield Finding(
            "could", "compiler", "none", "hardware.compile=true needs one on the processor: apt-get install g++"
        )


def _slurm() -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        yield Finding(
            "could", "slurm", "no sbatch here", "hydra/launcher=submitit_slurm works on a cluster's login node"
        )
        return
    version = _said("sbatch", "--version") or "sbatch"
    partitions = _said("sinfo", "--noheader", "--format=%P %a %l")
    if not partitions:
        yield Finding(
            "could",
            "slurm",
            f"{version}, but no controller answers",
            "sinfo says why; on a cluster: ask who runs it, or SLURM_CONF",
        )
        return
    yield Finding("ok", "slurm", f"{version}; partitions (state, time limit): {'; '.join(partitions.splitlines())}")
    if _said("sacct", "--noheader", "--allocations", "--starttime=now-1minutes") is None:
        yield Finding(
            "must",
            "accounting",
            "sacct does not answer",
            "without it a job that dies is waited for without an end: slurmdbd, or ask who runs the cluster",
        )
    else:
        yield Finding("ok", "accounting", "sacct answers: a job that dies is noticed")


def _disk(folder: Path) -> Iterator[Finding]:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free / 1e9
    said = f"{free:,.1f} GB free for '{folder}'"
    if not os.access(there, os.W_OK):
        yield Finding(
            "must", "disk", f"'{there}' is not yours to write", "choose another folder with ++log.folder=FOLDER"
        )
    elif free < LEAST_GB:
        yield Finding("must", "disk", said, "make room, or choose another disk with ++log.folder=FOLDER")
    else:
        yield Finding("ok", "disk", said)


def _wandb() -> Iterator[Finding]:
    if importlib.util.find_spec("wandb") is None:
        yield Finding("could", "wandb", "not installed", "pip install 'ssl-core[wandb]', for log.wandb=online")
    elif "WANDB_API_KEY" in os.environ or _has_password("api.wandb.ai"):
        yield Finding("ok", "wandb", "logged in")
    else:
        yield Finding(
            "could", "wandb", "nobody is logged in", "wandb login, for log.wandb=online; offline and off need none"
        )


def _has_password(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _said(*command: str) -> str | None:
    """Return what a command of the system prints; None where it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
