"""Upload run folders to wandb: runs that were made without it, or whatever of them has not arrived there. What wandb has is
not sent again."""

import argparse
import glob
import importlib.util
import sys

from ssl_core.run_folder import RunFolder
from ssl_core.wandb_upload import WandbUpload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a run folder, or a pattern such as 'outputs/*'")
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="that the server may take to answer (%(default)g)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Upload each folder; return 0 if all have arrived, 1 if one has not, 2 if nothing could be tried."""
    if importlib.util.find_spec("wandb") is None:
        print("sync-wandb: wandb is not installed; pip install 'ssl-core[wandb]'", file=sys.stderr)
        return 2
    worst = 0
    paths = [path for pattern in arguments.folders for path in (sorted(glob.glob(pattern)) or [pattern])]
    for path in paths:
        code, sentence = _sync(RunFolder(path), arguments.timeout)
        print(f"{path}: {sentence}", file=sys.stderr if code else sys.stdout, flush=True)
        worst = max(worst, min(code, 2))
        if code > 1:  # no login, or no server: it would be the same with the next folder
            break
    return worst


def _sync(folder: RunFolder, seconds: float) -> tuple[int, str]:
    """Return the exit code of the uploader (wandb_uploader.py) and its last word."""
    if not folder.config.is_file() or not folder.metrics.is_file():
        return 1, "no run folder (config.yaml or metrics.jsonl is missing)"
    try:
        upload = WandbUpload(folder, "online", seconds)
    except OSError as error:
        return 1, f"wandb needs to write there: {error}"
    said: list[tuple[str, str]] = []
    try:
        upload.tell("finish")
        while upload.exit_code is None:
            said += upload.heard(0.1)
        said += upload.heard()
    finally:  # also at Ctrl-C
        upload.close()
    refusal = "".join(text for kind, text in said if kind == "refused")
    code = upload.exit_code if upload.exit_code is not None else 1
    news = [text for kind, text in said if kind == ("warning" if code else "info")]
    return code, refusal or "wandb " + ("; ".join(news) or f"ended with exit code {code}, see {upload.log}")
