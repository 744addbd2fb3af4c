"""The id of the wandb run that shows a run folder, kept in its ``wandb.json``."""

import json
import secrets
from typing import Any

from ssl_core.run.atomic_file import write_atomically
from ssl_core.run.folder import RunFolder


def wandb_run_id(folder: RunFolder) -> str:
    """Return the id in ``wandb.json``, or create one.

    A moved folder keeps its id. A copy (the folder that it names still exists, with the same id) gets a new one, since both
    may be trained further.
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
    return json.loads(folder.wandb_id.read_text()) if folder.wandb_id.exists() else {}
