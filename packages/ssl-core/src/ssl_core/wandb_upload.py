"""A process beside the run that talks to wandb, as seen by who started it: nothing here ever waits for a network."""

import contextlib
import os
import select
import subprocess
import sys
import time

from ssl_core.run_folder import RunFolder


class WandbUpload:
    """Starts ``ssl_core.wandb_uploader`` on a run folder and exchanges words with it, through pipes that never block.

    The process is of a session of its own: Ctrl-C and a closed terminal reach the run, not it. It goes when its starter
    goes, however that ends, and wandb's own service goes with it.

    Parameters
    ----------
    folder : RunFolder
        What is uploaded. ``<run>/wandb`` is made; what wandb prints is kept there, in ``upload.log``.
    mode : str
        "online", or "offline": into ``<run>/wandb`` only.
    seconds : float, optional
        After which a request to the server is given up; by default it is tried again and again while the run goes on.

    Raises
    ------
    OSError
        If the folder cannot be written or no process can be started.
    """

    def __init__(self, folder: RunFolder, mode: str, seconds: float | None = None) -> None:
        self.log = folder.wandb / "upload.log"
        folder.wandb.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "ssl_core.wandb_uploader", str(folder.path), mode]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command if seconds is None else [*command, str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._mouth, self._ear = self._process.stdin, self._process.stdout
        os.set_blocking(self._mouth.fileno(), False)
        os.set_blocking(self._ear.fileno(), False)
        self._half = b""  # of a word that is still coming

    def tell(self, word: str) -> None:
        """Send "follow" (the lines of ``metrics.jsonl`` will not be cut back any more) or "finish"."""
        with contextlib.suppress(BrokenPipeError):  # it has ended: heard() and exit_code say why
            self._mouth.write(word.encode() + b"\n")

    def heard(self, seconds: float = 0.0) -> list[tuple[str, str]]:
        """Return what it has said since, as (kind, text); wait so long for a first word.

        ``ready``: it may talk to wandb. ``refused``: it may not, the text says why. ``warning``, ``info``: for the user.
        """
        if seconds > 0:
            select.select([self._ear], [], [], seconds)
        *lines, self._half = (self._half + (self._ear.read() or b"")).split(b"\n")
        return [(kind, text) for kind, _, text in (line.decode().partition(" ") for line in lines)]

    @property
    def exit_code(self) -> int | None:
        """None while it works; 0: everything has arrived."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait at most so long for its end, and return :attr:`exit_code`."""
        end = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.exit_code

    def close(self) -> None:
        """End it, now."""
        self._process.kill()
        self.wait(1.0)  # not for ever: a process that waits for a lost disk cannot be killed
        self._mouth.close()
        self._ear.close()
