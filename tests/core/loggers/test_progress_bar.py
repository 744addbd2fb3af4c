"""The progress bar on terminals that end before the run does."""

import io
import sys

import pytest

from ssl_core.loggers.progress_bar import ProgressBar


class ClosedTerminal(io.StringIO):
    def isatty(self):
        return True

    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stderr", [None, ClosedTerminal()])
def test_progress_bar_outlives_its_terminal(monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    with ProgressBar(total=3, done=0, batch_size=1000, enabled=True) as bar:
        for _ in range(3):
            bar.advance()
            bar.show(0, 1.0)
