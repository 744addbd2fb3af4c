"""The object that knows the ranks, alone. Several of them: ``test_distributed_run.py``."""

import logging

from ssl_core.distributed import Distributed


def test_another_number_of_ranks_is_said(tmp_path, caplog):
    ranks = Distributed("cpu", rendezvous=tmp_path)
    with caplog.at_level(logging.INFO, "ssl_core"):
        ranks.load_state_dict(ranks.state_dict())
        assert not caplog.messages
        ranks.load_state_dict({"world_size": 4})
    assert caplog.messages == ["a run of 4 ranks goes on at 1"]
