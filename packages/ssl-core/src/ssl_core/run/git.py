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
    return {"revision": revision.strip(), "changed": bool(status.strip())}


def uncommitted_patch(outputs: Path) -> str:
    """Return the patch from the revision to the working tree, for ``git apply``; an empty string without git or changes.

    Untracked text files are included, except ignored ones and those in ``outputs`` or in another run folder. It never raises:
    if git fails, the patch is empty.

    Parameters
    ----------
    outputs : Path
        ``log.folder``.
    """
    top = (_git("rev-parse", "--show-toplevel") or "").strip()
    changes = _git("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", folder=top) if top else None
    if changes is None:
        return ""
    unknown = (_git("ls-files", "--others", "--exclude-standard", "-z", folder=top) or "").split("\0")
    for name in [each for each in unknown if each][:MAX_FILES]:
        path = Path(top, name)
        if not _is_of_a_run(path.resolve(), outputs.resolve()) and _is_short_text(path):
            changes += (
                _git("diff", "--no-color", "--no-ext-diff", "--no-index", "--", os.devnull, name, folder=top) or ""
            )
    return changes if len(changes.encode(errors="surrogateescape")) <= MAX_PATCH_BYTES else ""


def record_code(folder: RunFolder, before: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the code for ``summary.json``; save the uncommitted changes of the start in the run folder.

    Parameters
    ----------
    folder : RunFolder
        ``uncommitted.patch`` is written once. A resumed run does not change it.
    before : dict
        ``summary.json`` of the earlier processes of the run.

    Returns
    -------
    dict
        ``git``: of the first process; ``git_resumed``: of this one, if it differs.
    """
    now = git_state()
    patch = uncommitted_patch(folder.path.parent).encode(errors="surrogateescape") if now.get("changed") else b""
    if "git" not in before:
        if patch and not folder.uncommitted.exists():
            with contextlib.suppress(OSError):  # a full disk does not end the run here
                folder.uncommitted.write_bytes(patch)
        return {"git": now}
    kept = folder.uncommitted.read_bytes() if folder.uncommitted.is_file() else b""
    if (before["git"], kept) == (now, patch):
        return {"git": before["git"]}
    return {"git": before["git"], "git_resumed": {**now, "other_changes": kept != patch}}


def _is_of_a_run(path: Path, outputs: Path) -> bool:
    return any(each == outputs or RunFolder(each).checkpoints.is_dir() for each in path.parents if each.name)


def _is_short_text(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return False
        content = path.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError):
        return False
    return b"\0" not in content


def _git(*arguments: str, folder: str | None = None) -> str | None:
    """Return the output of git, or None if it fails. It takes no lock: other processes may use the repository."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    differs = "--no-index" in arguments and done.returncode == 1  # exit code 1: files differ
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 or differs else None
