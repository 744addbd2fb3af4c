"""wandb as a sink: the run starts a process that uploads its folder (upload.py), and never waits for a network.

wandb in the process of the run was measured: with a server that does not answer, wandb's own exit handler held the run for
another 30 s. A separate process can be killed.
"""

import importlib.util
import logging
import os
import subprocess
import sys

from ssl_core.config import LogConfig
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.signals import block_signals

_message = logging.getLogger(__name__)
PATIENCE = 3.5  # seconds that the end of a run waits for the upload
LOGIN_SECONDS = 10.0  # limit for looking up the login: the time to import wandb


class WandbSink:
    """Shows a run on wandb; with ``log.wandb="offline"``, in ``<run>/wandb``.

    Metrics, images and files of the run folder are uploaded; ``wandb.json`` keeps the id of the wandb run, so that a resumed
    run continues the same one. If wandb is not installed or there is no login, a ConfigError is raised. A server that cannot
    be reached is only a warning.
    """

    def __init__(self, folder: RunFolder, log: LogConfig) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise ConfigError(f"log.wandb={log.wandb!r}: wandb is not installed; pip install wandb, or log.wandb=off")
        if log.wandb == "online" and "WANDB_API_KEY" not in os.environ and not _has_login():
            raise ConfigError(
                "log.wandb='online': no wandb login was found; run `wandb login`, or set log.wandb=offline and upload later "
                f"with `stable-ssl sync-wandb {folder.path}`"
            )
        self.folder = folder
        self._command = [sys.executable, "-m", "ssl_core.loggers.wandb.upload", str(folder.path), log.wandb, log.level]
        self._process: subprocess.Popen[str] | None = None

    def log(self, step: int, values: dict[str, float]) -> None:
        """Start the upload at the first metrics: by then a resumed run has cut its file back to its checkpoint."""
        if self._process is None:
            self.folder.wandb.mkdir(exist_ok=True)
            with open(self.folder.wandb / "upload.log", "ab") as output, block_signals():
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=output,  # what wandb prints; messages for the user go to stderr
                    text=True,
                    start_new_session=True,  # Ctrl-C and a closed terminal end the run, which then ends the upload
                )

    def close(self) -> None:
        """Wait ``PATIENCE`` seconds for the rest of the upload, then end it."""
        if self._process is None:
            return
        problem = f"not everything has arrived, see {self.folder.wandb}/upload.log"
        try:
            self._process.communicate("finish\n", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            problem = f"not confirmed within {PATIENCE:g} s that everything has arrived"
        finally:  # also at a second Ctrl-C
            self._process.kill()
        if self._process.wait():
            _message.warning("wandb: %s; `stable-ssl sync-wandb %s` uploads what is missing", problem, self.folder.path)


def _has_login() -> bool:
    """Ask wandb in a process: only wandb knows all places in which a login may be."""
    code = "import sys, wandb; sys.exit(0 if wandb.login(prompt=False, verify=False) else 3)"
    environment = os.environ | {"WANDB_SILENT": "true", "WANDB_MODE": "online"}  # else it asks the server for a name
    try:
        found = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LOGIN_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True  # unknown: the upload finds out
    return found.returncode != 3
