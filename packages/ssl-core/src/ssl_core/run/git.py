"""The code that a run was started from, as git knows it: the revision, and what was not committed."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ssl_core.run.folder import RunFolder

LONGEST = 5_000_000  # bytes of a patch; a longer one is not kept
LONGEST_FILE = 200_000  # bytes of a file that git does not know; a longer one is left out, as is one that is no text
MOST_FILES = 200  # of those
SECONDS = 10.0  # that git may take for one answer


def git_state() -> dict[str, Any]:
    """Return the revision of the folder that the command stands in and whether it has uncommitted changes."""
    revision, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if revision is None or status is None:
        return {"revision": None, "changed": None}
    return {"revision": revision.strip(), "changed": bool(status.strip())}


def uncommitted_patch(outputs: Path) -> str:
    """Return what ``git apply`` makes of the revision what is there now; an empty string without git, or without a change.

    Text files that git does not know are part of it, but for those that it is told to ignore, and those in ``outputs`` or in
    another folder of a run. Nothing here fails: a repository that cannot answer has no patch.

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
    for name in [each for each in unknown if each][:MOST_FILES]:
        path = Path(top, name)
        if not _is_of_a_run(path.resolve(), outputs.resolve()) and _is_short_text(path):
            changes += (
                _git("diff", "--no-color", "--no-ext-diff", "--no-index", "--", os.devnull, name, folder=top) or ""
            )
    return changes if len(changes.encode(errors="surrogateescape")) <= LONGEST else ""


def record_code(folder: RunFolder, before: dict[str, Any]) -> dict[str, Any]:
    """Return what ``summary.json`` says of the code; keep in the folder what was not committed when the run began.

    Parameters
    ----------
    folder : RunFolder
        ``uncommitted.patch`` is written once, and stays as it is where the run goes on with other changes.
    before : dict
        The summary of the run's earlier processes.

    Returns
    -------
    dict
        ``git``: of the first process; ``git_resumed``: of this one, where that is not the same.
    """
    now = git_state()
    patch = uncommitted_patch(folder.path.parent).encode(errors="surrogateescape") if now.get("changed") else b""
    if "git" not in before:
        if patch and not folder.uncommitted.exists():
            with contextlib.suppress(OSError):  # a full disk ends the run at what it needs, not at this
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
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST_FILE:
            return False
        content = path.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError):
        return False
    return b"\0" not in content


def _git(*arguments: str, folder: str | None = None) -> str | None:
    """Return what git says, or None where it does not answer. It takes no lock: others may be at work in the repository."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    differs = "--no-index" in arguments and done.returncode == 1  # as diff does
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 or differs else None
