"""The object that knows the ranks, alone. Several of them: ``test_distributed_run.py``."""

import logging

import torch

from ssl_core.distributed import Distributed, visible_gpus


def test_another_number_of_ranks_is_said(tmp_path, caplog):
    ranks = Distributed("cpu", rendezvous=tmp_path)
    with caplog.at_level(logging.INFO, "ssl_core"):
        ranks.load_state_dict(ranks.state_dict())
        assert not caplog.messages
        ranks.load_state_dict({"world_size": 4})
    assert caplog.messages == ["a run of 4 ranks goes on at 1"]


def test_gpus_are_called_what_the_environment_calls_them(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f")
    assert visible_gpus() == ["3", "GPU-8f"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert visible_gpus() == []
