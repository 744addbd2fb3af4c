"""Environment of a run, on which its numbers depend: versions, command, machine, processor."""

import importlib.metadata
import os
import platform
import shlex
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.git import git_state, uncommitted_patch
from ssl_core.run.source_location import RECORDED, changed_code

PACKAGES = ("ssl-core", "ssl-data", "ssl-losses", "ssl-eval", "ssl-launch", "torch", "torchvision", "numba", "numpy")
MAX_PER_PROCESSOR = 4  # threads or processes; more of them slow each other down, and thousands crash
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")  # as named in /proc/cpuinfo


def environment() -> dict[str, Any]:
    """Return the environment of this process, for ``summary.json``."""
    return {
        "command": shlex.join([sys.executable, *sys.orig_argv[1:]]),
        "directory": os.getcwd(),  # relative paths of the configuration start here
        "host": socket.gethostname(),
        "processor": processor(),
        **slurm_job(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the installed versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def slurm_job() -> dict[str, Any]:
    """Return the SLURM job of this process under the key "slurm"; an empty dict outside of a job."""
    names = os.environ
    if "SLURM_JOB_ID" not in names:
        return {}
    array, task = names.get("SLURM_ARRAY_JOB_ID"), names.get("SLURM_ARRAY_TASK_ID")
    job = {
        "job": f"{array}_{task}" if array else names["SLURM_JOB_ID"],
        "partition": names.get("SLURM_JOB_PARTITION"),
        "nodes": names.get("SLURM_JOB_NODELIST"),
        "restarts": int(names.get("SLURM_RESTART_COUNT", 0)),  # number of requeues
    }
    return {"slurm": job}


def processor() -> str:
    """Return the name and the features of the processor."""
    return " ".join([processor_name(), *processor_features()])


@cache
def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processor_name() -> str:
    """Return the name of the processor."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_features() -> list[str]:
    """Return those of :data:`FEATURES` that the processor has. Linux only."""
    flags = _cpuinfo().get("flags", "").split()
    return [name for name in FEATURES if name in flags]


def num_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_parallelism(key: str, value: int) -> None:
    """Raise a ConfigError if ``value`` threads or processes are too many for the processors that this process may use.

    Called on the machine where they are started: the login node of a cluster may have fewer processors.
    """
    processors = num_processors()
    limit = MAX_PER_PROCESSOR * processors
    if value > limit:
        available = "1 processor is" if processors == 1 else f"{processors} processors are"
        raise ConfigError(
            f"{key}={value}: expected at most {limit}, {MAX_PER_PROCESSOR} for each processor ({available} available to this "
            "process)"
        )


def environment_diff(run: RunFolder, ranks: int) -> list[str]:
    """Return the differences from the environment in which a run started: ``["torch was 2.14.0, is 2.15.0", ...]``.

    ``ranks`` is the number of ranks of this process. What the run has not recorded is not compared.
    """
    import torch

    summary, threads = run.read_summary(), torch.get_num_threads()
    git, before = summary.get("git") or {}, summary.get("versions", {})
    here = versions() if before else {}
    pairs: list[tuple[str, Any, Any]] = [(name, before.get(name), here.get(name)) for name in sorted({*before, *here})]
    pairs += [("processor", summary.get("processor"), processor()), ("ranks", summary.get("ranks"), ranks)]
    pairs += [("revision", (git.get("revision") or "")[:12], (git_state()["revision"] or "")[:12])]
    differences = [
        f"{name} was {was}, is {value}" for name, was, value in pairs if was != value and (was or name in here)
    ]
    kept = run.uncommitted.read_bytes() if run.uncommitted.is_file() else b""
    if git and kept != uncommitted_patch(run.path.parent):
        differences.append(
            f"uncommitted changes differ from '{run.uncommitted}'" if kept else "changes are uncommitted"
        )
    differences += [f"'{file}' has changed" for file in changed_code(summary)]
    for what in RECORDED:
        if f"{what}_resumed" in summary:
            step = summary[f"{what}_resumed"].get("step")
            differences.append(f"the {what}'s code had changed at step {step}, in the middle of the run")
    if summary.get("threads", threads) != threads:
        differences.append(f"threads are set to {summary['threads']} as in the run (here: {threads})")
    if str(summary.get("device", "")).startswith("cuda") and not torch.cuda.is_available():
        differences.append("device was cuda, which is not available here")
    return differences
