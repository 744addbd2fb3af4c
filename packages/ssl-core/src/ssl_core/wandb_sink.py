"""wandb as a listener: it may be absent, refused or broken, and the run goes on with its own files."""

import hashlib
import logging
from typing import Any

from ssl_core.config import LogConfig
from ssl_core.errors import ConfigError
from ssl_core.run_folder import RunFolder

_message = logging.getLogger(__name__)


class WandbSink:
    """Passes metrics to wandb.

    Parameters
    ----------
    folder : RunFolder
        Names the wandb run; the same folder is the same wandb run after a resume.
    log : LogConfig
        ``wandb`` ("online" or "offline") and ``wandb_project``.
    config : dict
        The resolved configuration, shown on the run's page.

    Raises
    ------
    ConfigError
        If wandb is not installed. A server that cannot be reached is only a warning.
    """

    def __init__(self, folder: RunFolder, log: LogConfig, config: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                f"log.wandb={log.wandb!r}: wandb is not installed; pip install wandb, or log.wandb=off"
            ) from error
        self._run: Any = None
        identity = hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()[:16]
        try:
            self._run = wandb.init(
                project=log.wandb_project,
                id=identity,
                name=folder.path.name,
                dir=str(folder.path),
                config=config,
                mode=log.wandb,  # type: ignore[arg-type]
                resume="allow",
                settings=wandb.Settings(init_timeout=5, console="off", silent=True),
            )
        except (wandb.Error, OSError, TimeoutError) as error:
            self._lost("cannot be started", error)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Pass one line on."""
        if self._run is not None:
            import wandb

            try:
                self._run.log(values, step=step)
            except (wandb.Error, OSError, TimeoutError) as error:
                self._lost("does not answer any more", error)

    def close(self) -> None:
        """Finish the wandb run."""
        if self._run is not None:
            import wandb

            try:
                self._run.finish()
            except (wandb.Error, OSError, TimeoutError) as error:
                self._lost("could not be finished", error)

    def _lost(self, what: str, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _message.warning("wandb %s: %s; the run goes on, its own files have everything", what, reason)
        self._run = None
