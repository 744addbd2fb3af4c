"""What the numbers of a run depend on beside its configuration: versions, processor, threads, code."""

import importlib.metadata
import os
import platform
import shlex
import socket
import sys
from typing import Any

from ssl_core.run.folder import RunFolder
from ssl_core.run.git import git_state, uncommitted_patch
from ssl_core.run.processor import processor_features, processor_name
from ssl_core.run.source_location import RECORDED, changed_code, records_of

PACKAGES = ("ssl-core", "ssl-data", "ssl-losses", "ssl-eval", "ssl-launch", "torch", "torchvision", "numba", "numpy")


def environment() -> dict[str, Any]:
    """Return those of this process, as they stand in ``summary.json``."""
    return {
        "command": shlex.join([sys.executable, *sys.orig_argv[1:]]),
        "directory": os.getcwd(),  # where relative paths of the configuration begin
        "host": socket.gethostname(),
        "processor": processor(),
        **slurm_job(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on, as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def slurm_job() -> dict[str, Any]:
    """Return what identifies the SLURM job of this process, under "slurm"; an empty dict outside of one."""
    names = os.environ
    if "SLURM_JOB_ID" not in names:
        return {}
    array, task = names.get("SLURM_ARRAY_JOB_ID"), names.get("SLURM_ARRAY_TASK_ID")
    job = {
        "job": f"{array}_{task}" if array else names["SLURM_JOB_ID"],
        "partition": names.get("SLURM_JOB_PARTITION"),
        "nodes": names.get("SLURM_JOB_NODELIST"),
        "restarts": int(names.get("SLURM_RESTART_COUNT", 0)),  # times that it was queued again
    }
    return {"slurm": job}


def processor() -> str:
    """Return the processor's name and what it can do."""
    return " ".join([processor_name(), *processor_features()])


def environment_diff(summary: dict[str, Any], now: dict[str, Any] | None = None) -> list[str]:
    """Return ``["torch was 2.14.0, is 2.15.0", ...]``: what is not as it was when a run began.

    Parameters
    ----------
    summary : dict
        ``summary.json`` of the run.
    now : dict, optional
        Facts of this process that cannot be asked here, under the names that they have in the summary: ``threads``, ``ranks``,
        ``device``.
    """
    before, here = summary.get("versions", {}), versions()
    pairs = [(name, before.get(name), here.get(name)) for name in sorted({*before, *here}) if before]
    pairs += [("processor", summary.get("processor", processor()), processor())]
    git = git_state()
    if summary.get("git"):
        pairs += [("revision", _short(summary["git"].get("revision")), _short(git.get("revision")))]
    pairs += [(name, summary[name], value) for name, value in (now or {}).items() if name in summary]
    said = [f"{name} was {was}, is {value}" for name, was, value in pairs if was != value]
    said += [f"'{file}' has changed" for file in changed_code(summary)]
    for what in RECORDED:
        for later in records_of(summary, what)[1:]:
            said.append(f"the {what}'s code had changed at step {later.get('step')}, in the middle of the run")
    return said


def environment_diff_of_run(run: RunFolder, ranks: int) -> list[str]:
    """Return all that is not as it was when a run began, for a process that is to go on with it.

    Beside :func:`what_differs`: ranks, uncommitted changes, the device, and the number of threads, which is to be set to the
    run's.
    """
    import torch

    summary, own = run.read_summary(), torch.get_num_threads()
    said = environment_diff(summary, {"ranks": ranks})
    kept = run.uncommitted.read_bytes() if run.uncommitted.is_file() else b""
    if summary.get("git") and kept != uncommitted_patch(run.path.parent).encode(errors="surrogateescape"):
        said.append(f"other changes are uncommitted than in '{run.uncommitted}'" if kept else "changes are uncommitted")
    if summary.get("threads", own) != own:
        said.append(f"threads are set to {summary['threads']} as they were (here: {own})")
    if str(summary.get("device", "")).startswith("cuda") and not torch.cuda.is_available():
        said.append("device was cuda, and there is none here")
    return said


def _short(revision: str | None) -> str | None:
    return revision and revision[:12]
