"""Three tests at a time (pytest-xdist) on two cores: some wait, for jobs of SLURM or for the end of processes.

Tests of a file run in one process; so do all tests on the SLURM cluster. A test leaves logging as it found it: whichever comes
next in its process does not depend on it.
"""

import logging
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # small_disk.py, forked.py

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and of all that the tests start
os.fsync = os.fstat  # a run waits for the disk about forty times; without power failures nobody can tell


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "slurm" if "/launch/slurm/" in file else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """Start with what takes longest, so that all processes end at about the same time."""
    longest = (
        "launch/slurm/",
        "integration/test_crash_recovery",
        "integration/",
        "launch/",
        "core/distributed/",
        "core/",
    )

    def position(item):
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((place for place, begin in enumerate(longest) if path.startswith(begin)), len(longest))

    items.sort(key=position)


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Hydra, where a test starts it in this process, hands all messages to the stdout of that test, which is then closed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
