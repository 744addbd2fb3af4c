"""The progress bar on a terminal that is closed, in a log file and in a notebook."""

import io
import sys
from types import SimpleNamespace

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
    with ProgressBar(total=3, batch_size=1000, enabled=True) as bar:
        for _ in range(3):
            bar.advance()
            bar.show(0, 1.0)


def test_log_file_gets_no_progress_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ProgressBar(total=3, batch_size=1000, enabled=True) as bar:
        bar.resume(2)
        bar.advance()
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_notebook_shows_one_line_that_is_replaced(monkeypatch, enabled):
    published = []
    shell = SimpleNamespace(
        kernel=object(), display_pub=SimpleNamespace(publish=lambda *args, **kwargs: published.append((args, kwargs)))
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with ProgressBar(total=1000, batch_size=10, enabled=enabled) as bar:
        bar.resume(500)
        bar.show(4, 0.25)
        for _ in range(500):
            bar.advance()
    if not enabled:
        assert published == []
        return
    assert [more["update"] for _, more in published] == [False] + [True] * (len(published) - 1)
    assert len({more["transient"]["display_id"] for _, more in published}) == 1
    assert len(published) < 20  # by time, not by batch
    lines = [data["text/plain"] for (data,), _ in published]
    assert any(" 50%" in f" {line}" for line in lines)
    assert lines[-1].startswith("epoch 5: 100%")
    assert "loss 0.2500" in lines[-1]
