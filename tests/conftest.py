"""Two tests at a time (pytest-xdist): those of a file stay together, and those on the SLURM, of which there is one."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and of all that the tests start


def pytest_collection_modifyitems(config, items):
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            group = "slurm" if "slurm" in item.fixturenames else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))
