"""``stable-ssl doctor``: check this machine and say what to fix. No torch is imported."""

import ctypes
import importlib.util
import json
import netrc
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ssl_core.run.environment import num_processors, processor_features, processor_name, versions

TIMEOUT_S = 5.0  # for a command of the system to answer
MIN_FREE_GB = 2.0  # for the checkpoints of a small model


@dataclass
class Finding:
    """One thing that was checked."""

    state: str  # ok, could or must
    what: str
    found: str
    advice: str = ""


def print_findings(folder: Path, as_json: bool) -> int:
    """Print the findings; return 1 if one of them is a must, else 0."""
    findings = list(examine(folder))
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            print(f"{each.state:6} {each.what:10} {each.found}")
            if each.advice:
                print(f"{'':17} -> {each.advice}")
    return int(any(each.state == "must" for each in findings))


def examine(folder: Path) -> Iterator[Finding]:
    """Check everything, one thing after the other."""
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
    foreign = [f"{name} {version}" for name, version in ours.items() if version.startswith("0")]
    missing = [name for name in ("ssl-core", "ssl-data", "ssl-losses", "ssl-eval", "ssl-launch") if name not in ours]
    text = ", ".join(f"{name} {version}" for name, version in ours.items())
    if foreign or missing:
        wrong = ", ".join(
            [*(f"{each} belongs to another project" for each in foreign), *(f"{each} is missing" for each in missing)]
        )
        yield Finding("must", "packages", f"{text}: {wrong}", "install from the checkout: pip install -e .")
    else:
        yield Finding("ok", "packages", text)
    state = "ok" if "torch" in found else "must"
    yield Finding(state, "versions", theirs, "" if state == "ok" else "pip install torch torchvision")


def _processor(features: list[str], count: int, omp: str | None) -> Iterator[Finding]:
    text = f"{processor_name()}: {', '.join(features) or 'none of avx2, avx512f, amx'}"
    if any("bf16" in each for each in features):
        yield Finding("ok", "processor", f"{text}; bf16 is fast")
    else:
        yield Finding(
            "could",
            "processor",
            text,
            "without avx512_bf16 or amx_bf16 a run computes in fp32, about half as fast",
        )
    if omp is not None and omp.isdigit() and int(omp) < count:
        yield Finding(
            "could", "threads", f"{count} processors, OMP_NUM_THREADS={omp}",
            f"unset OMP_NUM_THREADS, or ++hardware.num_threads={count}: torch uses {omp} of them",
        )  # fmt: skip
    else:
        yield Finding("ok", "threads", f"{count} processors for this process")


def _gpu() -> Iterator[Finding]:
    seen = _output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    torch = importlib.util.find_spec("torch")
    text = Path(torch.origin).with_name("version.py").read_text() if torch and torch.origin else ""
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", text, flags=re.MULTILINE)
    if not seen:
        yield Finding(
            "could",
            "gpu",
            "nvidia-smi shows none",
            "runs train on the processor; hardware.device=auto takes a GPU if there is one",
        )
    elif cuda is None:
        yield Finding(
            "must",
            "gpu",
            "; ".join(seen.splitlines()),
            "this build of torch is for processors only: pip install torch from the usual index",
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
    version = _output_of("sbatch", "--version") or "sbatch"
    partitions = _output_of("sinfo", "--noheader", "--format=%P %a %l")
    if not partitions:
        yield Finding(
            "could",
            "slurm",
            f"{version}, but no controller answers",
            "run sinfo to see why; check SLURM_CONF, or ask the administrators of the cluster",
        )
        return
    yield Finding("ok", "slurm", f"{version}; partitions (state, time limit): {'; '.join(partitions.splitlines())}")
    if _output_of("sacct", "--noheader", "--allocations", "--starttime=now-1minutes") is None:
        yield Finding(
            "must",
            "accounting",
            "sacct does not answer",
            "without it a dead job is never noticed: start slurmdbd, or ask the administrators of the cluster",
        )
    else:
        yield Finding("ok", "accounting", "sacct answers: a dead job is noticed")


def _disk(folder: Path) -> Iterator[Finding]:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free / 1e9
    text = f"{free:,.1f} GB free for '{folder}'"
    if not os.access(there, os.W_OK):
        yield Finding(
            "must", "disk", f"'{there}' is not writable for you", "choose another folder with ++log.folder=FOLDER"
        )
    elif free < MIN_FREE_GB:
        yield Finding("must", "disk", text, "make room, or choose another disk with ++log.folder=FOLDER")
    else:
        yield Finding("ok", "disk", text)


def _wandb() -> Iterator[Finding]:
    if importlib.util.find_spec("wandb") is None:
        yield Finding("could", "wandb", "not installed", "pip install 'ssl-core[wandb]', for log.wandb=online")
    elif "WANDB_API_KEY" in os.environ or _has_password("api.wandb.ai"):
        yield Finding("ok", "wandb", "logged in")
    else:
        yield Finding(
            "could", "wandb", "not logged in", "wandb login, for log.wandb=online; offline and off need no login"
        )


def _has_password(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _output_of(*command: str) -> str | None:
    """Return what a command of the system prints; None if it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
