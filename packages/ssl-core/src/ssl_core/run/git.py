"""State of the code of a run in git: revision and uncommitted changes."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ssl_core.run.folder import RunFolder

MAX_PATCH_BYTES = 5_000_000  # a larger patch is not kept
MAX_FILE_BYTES = 200_000  # larger untracked files are left out, and binary ones
MAX_FILES = 200  # untracked files in a patch
TIMEOUT_SECONDS = 10.0  # of one call of git


def git_state() -> dict[str, Any]:
    """Return the revision of the working directory, and whether there are uncommitted changes."""
    revision, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if revision is None or status is None:
        return {"revision": None, "changed": None}
    return {"revision": revision.decode().strip(), "changed": bool(status.strip())}


def uncommitted_patch(outputs: Path) -> bytes:
    """Return the patch from the revision to the working tree, for ``git apply``; empty without git or changes.

    Untracked text files are included, except ignored ones and those in ``outputs`` (``log.folder``) or in another run folder.
    """
    top = os.fsdecode(_git("rev-parse", "--show-toplevel") or b"").strip()
    diff = ("diff", "--no-color", "--no-ext-diff", "--no-textconv")
    patch = _git(*diff, "HEAD", folder=top) if top else None
    if patch is None:
        return b""
    untracked = (_git("ls-files", "--others", "--exclude-standard", "-z", folder=top) or b"").split(b"\0")
    for name in map(os.fsdecode, untracked[:-1][:MAX_FILES]):
        path = Path(top, name)
        if not _is_of_a_run(path.resolve(), outputs.resolve()) and _is_short_text(path):
            patch += _git(*diff, "--no-index", "--", os.devnull, name, folder=top) or b""
    return patch if len(patch) <= MAX_PATCH_BYTES else b""


def record_code(folder: RunFolder, before: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the code for ``summary.json``; save the uncommitted changes of the start in the run folder.

    ``before`` is ``summary.json`` of the earlier processes of the run. ``git`` is the state of the first process, and
    ``git_resumed`` that of this one, if it differs. A resumed run does not change ``uncommitted.patch``.
    """
    now = git_state()
    if "git" in before:
        return {"git": before["git"]} | ({"git_resumed": now} if now != before["git"] else {})
    if now.get("changed") and not folder.uncommitted.exists() and (patch := uncommitted_patch(folder.path.parent)):
        with contextlib.suppress(OSError):  # a full disk does not end the run here
            folder.uncommitted.write_bytes(patch)
    return {"git": now}


def _is_of_a_run(path: Path, outputs: Path) -> bool:
    return any(each == outputs or RunFolder(each).checkpoints.is_dir() for each in path.parents if each.name)


def _is_short_text(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return False
        return "\0" not in path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return False


def _git(*arguments: str, folder: str | None = None) -> bytes | None:
    """Return the output of git, or None if it fails. It takes no lock: other processes may use the repository."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    differs = "--no-index" in arguments and done.returncode == 1  # exit code 1: files differ
    return done.stdout if done.returncode == 0 or differs else None
