"""The object that knows the ranks, alone. Several of them: ``test_distributed_run.py``."""

import logging
import socket

import pytest
import torch

from ssl_core.distributed.launch_environment import LaunchEnvironment
from ssl_core.distributed.ranks import Distributed, visible_gpus
from ssl_core.errors import ConfigError, RunError


def test_changed_number_of_ranks_is_logged(tmp_path, caplog):
    ranks = Distributed("cpu", rendezvous=tmp_path)
    with caplog.at_level(logging.INFO, "ssl_core"):
        ranks.load_state_dict(ranks.state_dict())
        assert not caplog.messages
        ranks.load_state_dict({"world_size": 4})
    assert caplog.messages == ["a run of 4 ranks is resumed with 1"]


def test_visible_gpus_have_the_names_of_the_environment(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f")
    assert visible_gpus() == ["3", "GPU-8f"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert visible_gpus() == []


TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, LaunchEnvironment()),
        ({"WORLD_SIZE": "", "RANK": ""}, LaunchEnvironment()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, LaunchEnvironment()),
        (TORCHRUN, LaunchEnvironment(1, 2, 1)),
        (SLURM, LaunchEnvironment(1, 2, 1, "7_0")),
        ({**SLURM, "SLURM_NTASKS": "1"}, LaunchEnvironment()),
        (
            {**SLURM, "WORLD_SIZE": "2"},
            LaunchEnvironment(1, 2, 1, "7_0"),
        ),  # exported by a batch script for other programs
        ({**SLURM, **TORCHRUN}, LaunchEnvironment(1, 2, 1)),
        ({**SLURM, **TORCHRUN, "WORLD_SIZE": "4", "RANK": "3"}, LaunchEnvironment(3, 4, 1)),  # torchrun in each task
    ],
)
def test_ranks_come_from_torchrun_or_slurm(variables, expected):
    assert LaunchEnvironment.read(variables) == expected


def without(variables, name):
    return {key: value for key, value in variables.items() if key != name}


@pytest.mark.parametrize(
    ("variables", "key", "value"),
    [
        ({"WORLD_SIZE": "2"}, "RANK", ...),
        ({"RANK": "0"}, "WORLD_SIZE", ...),
        ({**TORCHRUN, "WORLD_SIZE": "abc"}, "WORLD_SIZE", "abc"),
        ({**TORCHRUN, "WORLD_SIZE": "0"}, "WORLD_SIZE", "0"),
        ({**TORCHRUN, "RANK": "2"}, "RANK", "2"),
        ({**TORCHRUN, "RANK": "-1"}, "RANK", "-1"),
        (without(TORCHRUN, "LOCAL_RANK"), "LOCAL_RANK", ...),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}, "LOCAL_RANK", 1),
        ({"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE", "x"),
        ({**SLURM, "SLURM_NTASKS": "two"}, "SLURM_NTASKS", "two"),
        (without(SLURM, "SLURM_PROCID"), "SLURM_PROCID", ...),
        (without(SLURM, "SLURM_LOCALID"), "SLURM_LOCALID", ...),
        (without(SLURM, "SLURM_JOB_ID"), "SLURM_JOB_ID", ...),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, "SLURM_NTASKS", "2"),
        ({**SLURM, **TORCHRUN, "RANK": "0"}, "RANK", 0),
    ],
)
def test_invalid_launch_environment_names_the_variable(variables, key, value):
    with pytest.raises(ConfigError) as raised:
        LaunchEnvironment.read(variables)
    assert (raised.value.key, raised.value.value) == (key, value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [("MASTER_ADDR", None, ...), ("MASTER_PORT", None, ...), ("MASTER_PORT", "99999", "99999")],
)
def test_missing_master_address_raises_at_once(tmp_path, monkeypatch, key, given, value):
    for name, text in {**TORCHRUN, key: given}.items():
        monkeypatch.delenv(name, raising=False)
        if text is not None:
            monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError) as raised, Distributed("cpu", rendezvous=tmp_path):
        raise AssertionError("the process group exists")
    assert (raised.value.key, raised.value.value) == (key, value)


def test_port_in_use_is_one_line(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, value in {**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RunError, match=f"^rank 0 of 2 could not meet the others at localhost:{port}: ") as raised:
            Distributed("cpu", rendezvous=tmp_path).__enter__()
    assert "\n" not in str(raised.value)


def test_local_rank_without_a_gpu_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with monkeypatch.context() as step:
        for name, value in SLURM.items():
            step.setenv(name, value)
        assert Distributed("auto", rendezvous=tmp_path).device == torch.device("cuda", 0)  # each task sees its own GPU
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="torch sees 1 GPU here") as raised:
        Distributed("auto", rendezvous=tmp_path)
    assert (raised.value.key, raised.value.value) == ("LOCAL_RANK", 1)
