"""``stable-ssl sync-wandb``: upload run folders to wandb, or the steps that are missing there."""

import glob
import importlib.util
import sys
import threading
from collections.abc import Sequence

from ssl_core.loggers.wandb.upload import upload
from ssl_core.run.folder import RunFolder
from ssl_core.run.lock import is_worked_in


def sync(patterns: Sequence[str], timeout: float) -> int:
    """Upload run folders; print one line for each.

    Parameters
    ----------
    patterns : sequence of str
        Run folders, or patterns such as ``outputs/*``.
    timeout : float
        Seconds for each request to the server.

    Returns
    -------
    int
        0 if everything has arrived, 1 if not, 2 if there is no login or no server.
    """
    if importlib.util.find_spec("wandb") is None:
        print("sync-wandb: wandb is not installed; pip install 'ssl-core[wandb]'", file=sys.stderr)
        return 2
    worst = 0
    for path in [path for pattern in patterns for path in (sorted(glob.glob(pattern)) or [pattern])]:
        code, sentence = _sync(RunFolder(path), timeout)
        print(f"{path}: {sentence}", file=sys.stderr if code else sys.stdout, flush=True)
        worst = max(worst, code)
        if code == 2:  # the next folder would end in the same way
            break
    return worst


def _sync(folder: RunFolder, timeout: float) -> tuple[int, str]:
    if not folder.config.is_file() or not folder.metrics.is_file():
        return 1, "not a run folder (config.yaml or metrics.jsonl is missing)"
    if is_worked_in(folder.lock):
        return 1, "the run is in progress; rerun this command after its end"
    ended = threading.Event()
    ended.set()
    messages: dict[str, list[str]] = {"info": [], "warning": []}
    try:
        folder.wandb.mkdir(exist_ok=True)
        code = upload(folder, "online", ended, lambda level, text: messages[level].append(text), timeout)
    except OSError as error:
        return 1, f"wandb: {error}"
    return code, "wandb: " + " ".join("; ".join(messages["warning" if code else "info"]).split())
