"""Two tests at a time (pytest-xdist): those of a file stay together, and those on the SLURM, of which there is one."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and of all that the tests start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "slurm" if "/test_slurm_" in file else file

    return ByFile(config, log)
