"""Parts of a state that may grow during a run. States that raise: ``test_malicious_checkpoints.py``."""

import pytest
import torch

from ssl_core.checkpoint.state_schema import check_state
from ssl_core.errors import CheckpointError


def test_filled_queue_is_accepted():
    """A loss with a queue learns its width from its first batch: a fresh one has no rows."""
    check_state({"rows": torch.zeros(100, 16)}, {"rows": torch.zeros(0, 0)})
    with pytest.raises(CheckpointError, match=r"rows: expected a tensor \(0, 0\) float32"):
        check_state({"rows": torch.zeros(100, 16).long()}, {"rows": torch.zeros(0, 0)})
