"""A real SLURM cluster of one node. Without SLURM or root its tests are skipped."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # submitted.py


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def slurm():
    """The cluster of ``SLURM_CONF`` if slurm_cluster.py has started it and it is up, else a new one."""
    slurm_cluster = _load(HERE / "slurm_cluster.py")
    reason = slurm_cluster.reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", slurm_cluster.PATH)
        conf = Path(os.environ.get("SLURM_CONF", "none"))
        if (conf.parent / "slurmctld.pid").is_file():
            ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True)
            if "is UP" in ping.stdout:
                yield slurm_cluster.SlurmCluster(conf.parent)
                return
        root = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket is limited
        with slurm_cluster.SlurmCluster(root) as cluster:
            patch.setenv("SLURM_CONF", str(cluster.conf))
            yield cluster


@pytest.fixture(scope="module")
def wandb_server():
    """A stand-in for the wandb server; ``environment`` makes wandb use it."""
    with _load(HERE.parent / "core" / "wandb_server.py").WandbServer() as server:
        yield server
