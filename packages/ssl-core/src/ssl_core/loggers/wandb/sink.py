"""wandb as a sink: the run starts a process that uploads its folder (upload.py), and never waits for a network.

wandb in the process of the run was measured: with a server that does not answer, wandb's own exit handler held the run for
another 30 s. A separate process can be killed.
"""

import contextlib
import importlib.util
import logging
import os
import subprocess
import sys
import threading

from ssl_core.config import LogConfig
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.signals import block_signals

_message = logging.getLogger(__name__)
PATIENCE = 3.5  # seconds that the end of a run waits for the upload
LOGIN_SECONDS = 10.0  # limit for looking up the login: the time to import wandb
# In a process: only wandb knows all places in which a login may be
_LOOK_UP_LOGIN = "import sys, wandb; sys.exit(0 if wandb.login(prompt=False, verify=False) else 3)"


class WandbSink:
    """Shows a run on wandb.

    Parameters
    ----------
    folder : RunFolder
        The run folder. Its metrics, images and files are uploaded; ``wandb.json`` keeps the id of the wandb run, so that a
        resumed run continues the same one.
    log : LogConfig
        ``wandb``: "online", or "offline" (kept in ``<run>/wandb``).

    Raises
    ------
    ConfigError
        If wandb is not installed or there is no login. A server that cannot be reached is only a warning.
    """

    def __init__(self, folder: RunFolder, log: LogConfig) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise ConfigError(
                f"log.wandb={log.wandb!r}: wandb is not installed; pip install 'ssl-core[wandb]', or log.wandb=off"
            )
        if log.wandb == "online" and "WANDB_API_KEY" not in os.environ and not _has_login():
            raise ConfigError(
                "log.wandb='online': no wandb login was found; run `wandb login`, or set log.wandb=offline and upload later "
                f"with `stable-ssl sync-wandb {folder.path}`"
            )
        self.folder = folder
        self.mode = log.wandb
        self._process: subprocess.Popen[str] | None = None
        self._relay = threading.Thread(target=self._relay_messages, daemon=True)
        self._warned = False

    def log(self, step: int, values: dict[str, float]) -> None:
        """Start the upload at the first metrics: by then a resumed run has cut its file back to its checkpoint."""
        if self._process is not None:
            return
        self.folder.wandb.mkdir(exist_ok=True)
        with open(self.folder.wandb / "upload.log", "ab") as log, block_signals():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ssl_core.loggers.wandb.upload", str(self.folder.path), self.mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C and a closed terminal end the run, which then ends the upload
            )
        self._relay.start()

    def close(self) -> None:
        """Wait ``PATIENCE`` seconds for the rest of the upload, then end it."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            with contextlib.suppress(OSError):  # it has ended already
                process.stdin.write("finish\n")
                process.stdin.flush()
            self._relay.join(PATIENCE)
            if self._relay.is_alive() and not self._warned:
                self._warn(f"not confirmed within {PATIENCE:g} s that everything has arrived")
        finally:  # also at a second Ctrl-C
            process.kill()
            self._relay.join(1.0)
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _relay_messages(self) -> None:
        """Log the messages of the upload: a level and a text in each line."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as messages:
            for line in messages:
                level, _, text = line.strip().partition(" ")
                if level == "warning":
                    self._warn(text)
                else:
                    _message.info("wandb: %s", text)
        if process.wait() and not self._warned:
            self._warn(f"the upload has ended with exit code {process.returncode}, see {self.folder.wandb}/upload.log")

    def _warn(self, problem: str) -> None:
        self._warned = True
        _message.warning(
            "wandb: %s; the run continues, and `stable-ssl sync-wandb %s` uploads what is missing",
            problem,
            self.folder.path,
        )


def _has_login() -> bool:
    environment = os.environ | {
        "WANDB_SILENT": "true",
        "WANDB_MODE": "online",
    }  # silent: else it asks the server for a name
    try:
        found = subprocess.run(
            [sys.executable, "-c", _LOOK_UP_LOGIN],
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=LOGIN_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True  # unknown: the upload finds out
    return found.returncode != 3
