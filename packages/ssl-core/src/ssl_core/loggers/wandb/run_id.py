"""The id of the wandb run that shows a run folder: kept in the folder, so that it moves with it."""

import json
import secrets
from pathlib import Path
from typing import Any

from ssl_core.run.folder import RunFolder, write_atomically


def wandb_run_id(folder: RunFolder) -> str:
    """Return the id in ``wandb.json``, or a new one where there is none yet.

    A moved folder stays the same wandb run. A copy, which is a folder that says it is another one that is still there,
    becomes a run of its own: both may go on.
    """
    here = folder.path.resolve()
    known = _read(folder)
    origin = RunFolder(known.get("folder", here))
    if not known or (origin.path != here and _read(origin).get("id") == known["id"] and not origin.path.samefile(here)):
        known = {"id": secrets.token_hex(8)}
    if known.get("folder") != str(here):
        known["folder"] = str(here)
        write_atomically(folder.wandb_id, json.dumps(known) + "\n")
    return known["id"]


def _read(folder: RunFolder) -> dict[str, Any]:
    path: Path = folder.wandb_id
    return json.loads(path.read_text()) if path.exists() else {}
