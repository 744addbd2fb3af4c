"""Jobs on real disks that become full or read-only after submission.

Three disks, side by side. Oracle of the interrupted run: the run that could not start and is trained later.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from submitted import TOTAL, Submitted, assert_equal

from small_disk import fill, make_room, mount, small_disk
from ssl_core.checkpoint.store import archive_problem
from ssl_eval.runs.run_record import find_runs
from ssl_launch.cli.ls import listed

ROOM = ["++log.every_steps=1000"]  # so that the checkpoint is what needs room in the middle of an epoch
HELD = ["+hydra.launcher.additional_parameters={hold: true}"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def ended(command):
    """Return how a command and its job have ended, and what is left of the run."""
    command.process.wait(timeout=200)
    try:
        runs = find_runs([command.folder])
    except ValueError:  # no run
        runs = []
    return SimpleNamespace(
        code=command.process.returncode,
        said=command.errors.read_text().splitlines(),
        job=command.accounted(command.jobs()[-1]),
        listed=[listed(run).status for run in runs],  # by stable-ssl ls
        whole=[
            path.name
            for path in sorted(command.folder.glob("*/checkpoints/step_*.pt"))
            if archive_problem(path) is None
        ],
        checkpoints=sorted(path.name for path in command.folder.glob("*/checkpoints/*.pt*")),
    )


def release(command):
    """Let the newest job start; it was submitted with ``hold``."""
    command.until_submitted()
    subprocess.run(["scontrol", "release", command.jobs()[-1]], check=True)


def full_from_the_start(slurm, disk):
    with Submitted(slurm, disk, *ROOM, *HELD) as command:
        command.until_submitted()
        fill(disk)
        release(command)
        refused = ended(command)
    make_room(disk)
    with Submitted(slurm, disk, *ROOM, *HELD) as command:
        release(command)
    return refused, command


def full_in_the_middle(slurm, disk):
    with Submitted(slurm, disk, *ROOM, SLOW_HOLD="49") as command:
        command.until_held(49)
        fill(disk)
        command.release(49)
        refused = ended(command)
    make_room(disk)
    with Submitted(slurm, disk, *ROOM) as command:
        pass
    return refused, command


def read_only_from_the_start(slurm, disk):
    with Submitted(slurm, disk, *ROOM, *HELD) as command:
        command.until_submitted()
        mount("-o", "remount,ro", disk)
        release(command)
        return ended(command), command


@pytest.fixture(scope="module")
def results(slurm, tmp_path_factory):
    """Each disk: how the job ended, and the same command after there was room again."""
    base = tmp_path_factory.mktemp("disks")
    with ExitStack() as disks, ThreadPoolExecutor(3) as pool:
        going = {}
        for each in (full_from_the_start, full_in_the_middle, read_only_from_the_start):
            disk = disks.enter_context(small_disk(base / each.__name__, "4m"))
            going[each.__name__] = pool.submit(each, slurm, disk)
        yield {name: each.result() for name, each in going.items()}


@pytest.mark.parametrize(
    ("disk", "exit_code", "file", "reason", "left"),
    [
        ("full_from_the_start", "74:0", "/.lock", "No space left on device", []),
        ("full_in_the_middle", "74:0", "/step_00000050.pt", "No space left on device", ["killed"]),
        (
            "read_only_from_the_start",
            "0:53",
            "_0_log.err",
            "Read-only file system",
            [],
        ),  # by SLURM: no log
    ],
)
def test_disk_error_is_one_line_and_run_is_not_listed_as_running(results, disk, exit_code, file, reason, left):
    refused, command = results[disk]
    assert refused.code == 74
    last = refused.said[-1]
    assert f"{file}' cannot be written: {reason} (" in last
    assert str(command.folder) in last
    assert refused.job == ["FAILED", exit_code]
    assert refused.listed == left


def test_resume_after_full_disk_equals_uninterrupted_run(results):
    refused, resumed = results["full_in_the_middle"]
    whole = ["step_00000025.pt", "step_00000040.pt"]  # of the 25th step, and before the second evaluation
    assert refused.whole == whole
    assert refused.checkpoints == whole
    _, oracle = results["full_from_the_start"]
    for command in (resumed, oracle):
        assert command.process.returncode == 0, command.errors.read_text()
        assert (command.summary()["status"], command.summary()["step"]) == ("finished", TOTAL)
    assert resumed.steps() == [*range(1, 51), *range(41, TOTAL + 1)]
    assert oracle.steps() == list(range(1, TOTAL + 1))
    assert_equal(resumed.state(TOTAL), oracle.state(TOTAL))
