"""Output that is closed, full or without a reader."""

import logging
import os
import subprocess
import sys

import pytest

from ssl_eval import cli
from ssl_eval.output_stream import LOST_OUTPUT, OutputStream, exit_code_of_output


@pytest.fixture
def lost():
    """Return a function that opens a stream which takes nothing: a full disk, or a pipe without a reader."""
    opened = []

    def open_lost(kind):
        if kind == "full":
            opened.append(open("/dev/full", "w"))  # noqa: SIM115
        else:
            reader, writer = os.pipe()
            os.close(reader)
            opened.append(os.fdopen(writer, "w"))
        return OutputStream(opened[-1], "stdout")

    yield open_lost
    for stream in opened:
        stream.close()


@pytest.mark.parametrize(
    ("kind", "said"), [("full", "stdout: No space left on device; further output is lost\n"), ("pipe", "")]
)
def test_lost_output_is_reported_once(lost, kind, said, capsys):
    stream = lost(kind)
    logger = logging.Logger("of a run")
    logger.addHandler(logging.StreamHandler(stream))
    for step in range(3):
        logger.info("step %d", step)
        print("the same printed", file=stream, flush=True)
    assert capsys.readouterr() == ("", said)
    assert os.readlink(f"/proc/self/fd/{stream.fileno()}") == os.devnull


def test_only_lost_output_changes_an_exit_code(lost, monkeypatch):
    assert exit_code_of_output(0) == 0
    monkeypatch.setattr(sys, "stdout", lost("pipe"))
    print("read by nobody")
    assert exit_code_of_output(0) == 0
    monkeypatch.setattr(sys, "stdout", lost("full"))
    print("buffered until the end")
    assert exit_code_of_output(3) == 3
    assert exit_code_of_output(0) == LOST_OUTPUT


def test_watch_on_a_full_disk_exits_with_74(lost, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", lost("full"))
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # put back afterwards
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: {}\n")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "epoch": 0, "train/loss": 1.0}\n')
    assert cli.main(["watch", "--once", str(tmp_path)]) == LOST_OUTPUT
    assert capfd.readouterr().err == "stdout: No space left on device; further output is lost\n"


def test_closed_streams_do_not_receive_the_next_file(tmp_path):
    """Descriptor 2 would be that of the next file; messages of C libraries would be written into it."""
    program = (
        "import os, sys; from ssl_eval.output_stream import protect_output; protect_output(); "
        "file = open('kept', 'w'); os.write(2, b'a library'); print('x', file=sys.stderr); print('y'); file.write('whole')"
    )
    code = subprocess.run(["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, program], cwd=tmp_path).returncode
    assert code == 0
    assert (tmp_path / "kept").read_text() == "whole"
