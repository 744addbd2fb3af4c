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
from pathlib import Path
from typing import NamedTuple

from ssl_core.run.environment import num_processors, processor_features, processor_name, versions

TIMEOUT_S = 5.0  # for a command of the system to answer
MIN_FREE_GB = 2.0  # for the checkpoints of a small model
PACKAGES = ("ssl-core", "ssl-data", "ssl-losses", "ssl-eval", "ssl-launch")


class Finding(NamedTuple):
    """One thing that was checked."""

    state: str  # ok, could or must
    what: str
    found: str
    advice: str = ""


def print_findings(folder: Path, as_json: bool) -> int:
    """Print the findings; return 1 if one of them is a must, else 0."""
    findings = list(examine(folder))
    if as_json:
        print(json.dumps([each._asdict() for each in findings], indent=2))
    else:
        for each in findings:
            advice = f"\n{'':17} -> {each.advice}" if each.advice else ""
            print(f"{each.state:6} {each.what:10} {each.found}{advice}")
    return int(any(each.state == "must" for each in findings))


def examine(folder: Path) -> Iterator[Finding]:
    """Check everything, one thing after the other."""
    yield from _packages(versions())
    yield _processor(processor_features())
    yield _threads(num_processors(), os.environ.get("OMP_NUM_THREADS"))
    yield _gpu()
    yield _ffcv()
    yield _compiler()
    yield from _slurm()
    yield _disk(folder)
    yield _wandb()


def _packages(found: dict[str, str]) -> Iterator[Finding]:
    ours = {name: version for name, version in found.items() if name.startswith("ssl-")}
    wrong = [
        f"{name} {version} belongs to another project" for name, version in ours.items() if version.startswith("0")
    ]
    wrong += [f"{name} is missing" for name in PACKAGES if name not in ours]
    text = ", ".join(f"{name} {version}" for name, version in ours.items())
    if wrong:
        advice = "install from the checkout: pip install -e ."
        yield Finding("must", "packages", f"{text}: {', '.join(wrong)}", advice)
    else:
        yield Finding("ok", "packages", text)
    others = ", ".join(f"{name} {version}" for name, version in found.items() if name not in ours)
    missing = "torch" not in found
    yield Finding("must" if missing else "ok", "versions", others, "pip install torch torchvision" if missing else "")


def _processor(features: list[str]) -> Finding:
    text = f"{processor_name()}: {', '.join(features) or 'none of avx2, avx512f, amx'}"
    if any("bf16" in each for each in features):
        return Finding("ok", "processor", f"{text}; bf16 is fast")
    advice = "without avx512_bf16 or amx_bf16 a run computes in fp32, about half as fast"
    return Finding("could", "processor", text, advice)


def _threads(count: int, omp: str | None) -> Finding:
    if omp is None or not omp.isdigit() or int(omp) >= count:
        return Finding("ok", "threads", f"{count} processors for this process")
    advice = f"unset OMP_NUM_THREADS, or hardware.num_threads={count}: torch uses {omp} of them"
    return Finding("could", "threads", f"{count} processors, OMP_NUM_THREADS={omp}", advice)


def _gpu() -> Finding:
    seen = _output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    if not seen:
        advice = "runs train on the processor; hardware.device=auto takes a GPU if there is one"
        return Finding("could", "gpu", "nvidia-smi shows none", advice)
    torch = importlib.util.find_spec("torch")
    text = Path(torch.origin).with_name("version.py").read_text() if torch and torch.origin else ""
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", text, flags=re.MULTILINE)
    gpus = "; ".join(seen.splitlines())
    if cuda is None:
        advice = "this build of torch is for processors only: pip install torch from the usual index"
        return Finding("must", "gpu", gpus, advice)
    return Finding("ok", "gpu", f"{gpus}; torch for CUDA {cuda[1]}")


def _ffcv() -> Finding:
    advice = "apt-get install pkg-config libopencv-dev libturbojpeg0-dev, then pip install '.[ffcv]'"
    spec = importlib.util.find_spec("ffcv")
    if spec is None or spec.origin is None:
        return Finding("could", "ffcv", "not installed: only FFCV's own loader needs it, .beton files do not", advice)
    try:
        for library in (*Path(spec.origin).parent.glob("*.so"), *Path(spec.origin).parents[1].glob("*_libffcv*.so")):
            ctypes.CDLL(str(library))
    except OSError as error:
        return Finding("must", "ffcv", f"installed, but it does not load: {error}", advice)
    return Finding("ok", "ffcv", "installed, and its libraries load")


def _compiler() -> Finding:
    found = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    if found:
        return Finding("ok", "compiler", f"{found}: hardware.compile=true works on the processor")
    advice = "hardware.compile=true needs one on the processor: apt-get install g++"
    return Finding("could", "compiler", "none", advice)


def _slurm() -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        advice = "hydra/launcher=submitit_slurm works on a cluster's login node"
        yield Finding("could", "slurm", "no sbatch here", advice)
        return
    version = _output_of("sbatch", "--version") or "sbatch"
    partitions = _output_of("sinfo", "--noheader", "--format=%P %a %l")
    if not partitions:
        advice = "run sinfo to see why; check SLURM_CONF, or ask the administrators of the cluster"
        yield Finding("could", "slurm", f"{version}, but no controller answers", advice)
        return
    yield Finding("ok", "slurm", f"{version}; partitions (state, time limit): {'; '.join(partitions.splitlines())}")
    if _output_of("sacct", "--noheader", "--allocations", "--starttime=now-1minutes") is None:
        advice = "without it a dead job is never noticed: start slurmdbd, or ask the administrators of the cluster"
        yield Finding("must", "accounting", "sacct does not answer", advice)
    else:
        yield Finding("ok", "accounting", "sacct answers: a dead job is noticed")


def _disk(folder: Path) -> Finding:
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    text = f"{free:,.1f} GB free for '{folder}'"
    if not os.access(existing, os.W_OK):
        text, advice = f"'{existing}' is not writable for you", "choose another folder with log.folder=FOLDER"
    elif free < MIN_FREE_GB:
        advice = "make room, or choose another disk with log.folder=FOLDER"
    else:
        return Finding("ok", "disk", text)
    return Finding("must", "disk", text, advice)


def _wandb() -> Finding:
    if importlib.util.find_spec("wandb") is None:
        return Finding("could", "wandb", "not installed", "pip install wandb, for log.wandb=online")
    try:
        password = netrc.netrc(os.environ.get("NETRC")).authenticators("api.wandb.ai")
    except (OSError, netrc.NetrcParseError):
        password = None
    if "WANDB_API_KEY" in os.environ or password:
        return Finding("ok", "wandb", "logged in")
    advice = "wandb login, for log.wandb=online; offline and off need no login"
    return Finding("could", "wandb", "not logged in", advice)


def _output_of(*command: str) -> str | None:
    """Return what a command of the system prints; None if it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
