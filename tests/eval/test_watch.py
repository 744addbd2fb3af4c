"""``ssl-eval watch``: what it reads of runs that are being written, and what it does to the terminal."""

import fcntl
import io
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from ssl_eval.cli import main
from ssl_eval.runs.live_run import LiveRun
from ssl_eval.watch import Watch, _width, watch


def line(step, epoch=0, **values):
    return json.dumps({"step": step, "epoch": epoch, "train/loss": 9.0 - step, **values}) + "\n"


@pytest.fixture
def run(make_run):
    folder = make_run("run", status="running", done=0, step=0, wall_seconds=0.0, changes={"optim.batch_size": 10})
    (folder / "metrics.jsonl").write_text(line(1))
    return folder


def append(folder, text):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(text)


def test_only_what_is_new_is_read_and_a_torn_line_waits(run):
    live = LiveRun(run)
    live.update()
    append(run, line(2)[:-9])
    live.update()
    assert (live.step, list(live.losses)) == (1, [8.0])
    append(run, line(2)[-9:])
    live.update()
    assert (live.step, list(live.losses)) == (2, [8.0, 7.0])


def test_last_line_may_grow_in_place(run):
    live = LiveRun(run)
    live.update()
    (run / "metrics.jsonl").write_text(line(1, epoch=1, **{"digits/knn": 0.5}))
    live.update()
    assert (live.epoch, live.values[live.accuracy], len(live.losses)) == (1, 0.5, 1)


def test_resumed_run_cuts_its_file(run):
    append(run, line(2) + line(3) + line(4))
    live = LiveRun(run)
    live.update()
    (run / "metrics.jsonl").write_text(line(1) + line(2))
    live.update()
    assert (live.step, list(live.losses)) == (2, [8.0, 7.0])


@pytest.mark.parametrize("text", ["{\n", "[1]\n", '{"step": "x"}\n', "\xff\xfe\n", "\n\n"])
def test_damage_is_passed_over(run, text):
    live = LiveRun(run)
    live.update()
    append(run, text + line(2))
    (run / "summary.json").write_text("{")
    live.update()
    assert (live.step, live.status) == (2, "running")


def test_run_without_lines_or_configuration_is_shown(make_run):
    folder = make_run("new", status="running", done=0)
    (folder / "metrics.jsonl").unlink()
    (folder / "config.yaml").write_text("{")
    view = Watch([folder])
    view.update()
    assert view.lines(100)[-1].split() == ["new", "running", "0", "–", "–", "–", "–"]


def test_time_left_is_at_the_pace_so_far(run):
    live = LiveRun(run)
    append(run, "".join(line(step, epoch=step // 4, **{"train/images_per_second": 5.0}) for step in range(2, 9)))
    live.update()
    assert live.seconds_left == pytest.approx((6 * 4 - 8) * 10 / 5)  # no checkpoint yet: images a second
    (run / "summary.json").write_text(json.dumps({"status": "running", "step": 4, "wall_seconds": 40.0}))
    live.update()
    assert live.seconds_left == pytest.approx((6 * 4 - 8) * 10.0)
    (run / "summary.json").write_text(json.dumps({"status": "finished"}))
    live.update()
    assert live.seconds_left is None


def test_run_that_writes_nothing_is_called_silent(run):
    for path in (run / "metrics.jsonl", run / "summary.json", run / "config.yaml"):
        os.utime(path, (time.time() - 3600,) * 2)
    view = Watch([run])
    view.update()
    assert "1 silent" in view.lines(100)[0]
    assert "silent 60 min" in view.lines(100)[3]


def test_runs_appear_and_go(make_run, tmp_path):
    folder = make_run("a")
    view = Watch([tmp_path])
    view.update()
    make_run("b", status="failed", done=1)
    view.update()
    assert [row.split()[0] for row in view.lines(100)[3:]] == ["b", "a"]  # what went wrong first
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "b")
    view.update()
    assert view.lines(200)[0] == "no run"
    assert "holds no run" in view.lines(200)[-1]


@pytest.mark.parametrize("width", [1, 5, 12, 20, 35, 60, 90, 200])
def test_no_line_is_wider_than_the_terminal(make_run, tmp_path, width):
    make_run("a_very_long_name_of_a_run_that_somebody_gave_it_for_good_reasons", status="running", done=2)
    make_run("日本語の名前はそれぞれ二つの場所を取る")
    view = Watch([tmp_path])
    view.update()
    assert max(map(_width, view.lines(width))) <= width
    assert len(view.lines(width, height=4)) <= 4


def test_more_runs_than_lines_are_counted(make_run, tmp_path):
    for number in range(9):
        make_run(f"r{number}", status="finished" if number else "running", done=1)
    view = Watch([tmp_path])
    view.update()
    lines = view.lines(100, height=8)
    assert len(lines) <= 8
    assert lines[3].startswith("r0")  # what runs comes first
    assert lines[-1] == "and 5 more"


def test_name_cannot_act_on_the_terminal(make_run, tmp_path):
    make_run("\x1b[2Jgone\x07")
    out = io.StringIO()
    assert watch([tmp_path], stream=out) == 0
    assert "gone" in out.getvalue()
    assert "\x1b" not in out.getvalue()  # nor colours: a file is no terminal


def test_without_a_terminal_it_prints_once(make_run, capsys):
    folder = make_run("one")
    assert main(["watch", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[3].split()[:5] == ["one", "finished", "6/6", "0.2083", "90.0"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["nowhere"], "there is no such folder"), ([".", "--every", "0"], "--every 0.0: expected")],
)
def test_invalid_folder_of_watch_is_one_line(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *arguments]) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert problem in error
    assert error.count("\n") == 1


def test_terminal_is_redrawn_and_given_back(make_run, tmp_path):
    """A pseudo-terminal of 60 by 10: the view follows the files, a removed folder and Ctrl-C leave it whole."""
    runs = tmp_path / "runs"
    folder = make_run("runs/live", status="running", done=2)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    before = termios.tcgetattr(theirs)
    # Who starts the tests in the background has Ctrl-C ignored, and so would what they start.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; from ssl_eval.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "watch", str(runs), "--every", "0.1"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    seen = b""

    def until(text):
        nonlocal seen
        seen = b""
        deadline = time.monotonic() + 120
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536)
        return seen

    try:
        assert b"\x1b[?1049h\x1b[?25l" in until(b"2/6")
        append(folder, line(12, epoch=3) + '{"step": 13, "ep')
        until(b"3/6")
        shutil.rmtree(runs)
        until(b"no run")
        process.send_signal(signal.SIGINT)
        last = until(b"\x1b[?1049l")
        assert last.index(b"\x1b[?25h") < last.index(b"\x1b[?1049l")
        assert process.wait(60) == 0
        assert b"Traceback" not in last
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
