"""wandb as a listener: it may be absent, refused, slow or broken, and the run goes on with its own files.

The run never talks to wandb. A process beside it reads ``metrics.jsonl`` and uploads what it finds (wandb_uploader.py); it is
told when to begin and when to finish, and is ended when it has not finished in time.
"""

import importlib.util
import logging
import os
import time

from ssl_core.config import LogConfig
from ssl_core.errors import ConfigError
from ssl_core.run_folder import RunFolder
from ssl_core.wandb_upload import WandbUpload

_message = logging.getLogger(__name__)
PATIENCE = 3.5  # seconds that wandb may cost a run, in all
LEAST = 1.5  # of them for the end, however long the start has taken


class WandbSink:
    """Has a run's metrics shown by wandb.

    Parameters
    ----------
    folder : RunFolder
        What is shown; it keeps the id of the wandb run, so that a resumed run goes on in the same one.
    log : LogConfig
        ``wandb`` ("online" or "offline"); ``config.yaml`` says the project.

    Raises
    ------
    ConfigError
        If wandb is not installed, or nobody is logged in. A server that cannot be reached is only a warning.
    """

    def __init__(self, folder: RunFolder, log: LogConfig) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise ConfigError(
                f"log.wandb={log.wandb!r}: wandb is not installed; pip install 'ssl-core[wandb]', or log.wandb=off"
            )
        self.folder = folder
        self._patience = PATIENCE
        self._following = False
        self._upload: WandbUpload | None = None
        try:
            self._upload = WandbUpload(folder, log.wandb)
        except OSError as error:
            self._lose(f"cannot be started: {error}")
            return
        # Only wandb knows where it looks for a login: it is asked, which takes the second of its import. A key that is given
        # needs no asking.
        if log.wandb == "online" and "WANDB_API_KEY" not in os.environ:
            self._await_login(self._upload)

    def _await_login(self, upload: WandbUpload) -> None:
        began = time.monotonic()
        words: list[tuple[str, str]] = []
        while not words and upload.exit_code is None and time.monotonic() - began < 30.0:
            words = upload.heard(0.5)
        self._patience -= time.monotonic() - began
        for kind, text in words:
            if kind == "refused":
                upload.close()
                raise ConfigError(
                    f"log.wandb='online': {text}; `wandb login`, or log.wandb=offline and later `ssl-core sync-wandb "
                    f"{self.folder.path}`"
                )

    def log(self, step: int, values: dict[str, float]) -> None:
        """Say that lines are coming, the first time; pass on what wandb has to say."""
        if self._upload is None:
            return
        if not self._following:  # a resumed run has put its file back to where its state was saved by now
            self._upload.tell("follow")
            self._following = True
        self._relay(self._upload)
        if self._upload.exit_code is not None:
            self._lose(f"has ended (exit code {self._upload.exit_code}, see {self._upload.log})")

    def close(self) -> None:
        """Let the rest arrive, within what is left of the patience."""
        if self._upload is None:
            return
        upload, patience = self._upload, max(self._patience, LEAST)
        try:
            upload.tell("finish")
            code = upload.wait(patience)
            self._relay(upload)
            if code is None:
                self._lose(f"has not confirmed that everything arrived within {patience:.1f} s")
            elif code != 0:
                self._lose("has not everything")
        finally:  # also at a second Ctrl-C
            upload.close()
            self._upload = None

    def _relay(self, upload: WandbUpload) -> None:
        for kind, text in upload.heard():
            if kind == "info":
                _message.info("wandb %s", text)
            elif kind in ("warning", "refused"):
                _message.warning("wandb %s; the run goes on, its own files have everything", text)

    def _lose(self, what: str) -> None:
        _message.warning(
            "wandb %s; the run's own files have everything: `ssl-core sync-wandb %s` uploads what is missing",
            what,
            self.folder.path,
        )
        if self._upload is not None:
            self._upload.close()
            self._upload = None
