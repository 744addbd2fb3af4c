import json
import resource

import pytest

from ssl_core import DiskError
from ssl_core.errors import CheckpointError
from ssl_core.loggers.metrics_logger import MetricsLogger


class Listener:
    def __init__(self):
        self.heard = []
        self.closed = False

    def log(self, step, values):
        self.heard.append((step, values))

    def close(self):
        self.closed = True


def test_a_line_is_whole_in_the_file_when_log_returns(tmp_path):
    listener = Listener()
    with MetricsLogger(tmp_path / "metrics.jsonl", [listener]) as logger:
        logger.log(3, 1, {"train/loss": 0.5})
        assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 3, "epoch": 1, "train/loss": 0.5}
    assert listener.heard == [(3, {"train/loss": 0.5})]
    assert listener.closed


def test_a_resumed_logger_cuts_what_came_after_the_state(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLogger(path, []) as logger:
        logger.log(1, 0, {"a": 1.0})
        state = logger.state_dict()
        logger.log(2, 0, {"a": 2.0})
    path.write_text(path.read_text() + '{"step": 3, "ep')  # killed while a line was appended
    with MetricsLogger(path, []) as logger:
        logger.load_state_dict(state)
        assert logger.last == {"a": 1.0}
        logger.log(2, 0, {"a": 2.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_other_ranks_write_nothing(tmp_path):
    with MetricsLogger(tmp_path / "metrics.jsonl", [], writes=False) as logger:
        logger.log(1, 0, {"a": 1.0})
        logger.load_state_dict(logger.state_dict())
    assert not (tmp_path / "metrics.jsonl").exists()
    assert logger.last == {"a": 1.0}


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluation_is_added_to_the_line_of_its_step(tmp_path):
    path, listener = tmp_path / "metrics.jsonl", Listener()
    with MetricsLogger(path, [listener]) as logger:
        logger.log(1, 0, {"train/loss": 2.0})
        logger.log(2, 0, {"train/loss": 1.0})
        state = logger.state_dict()
        logger.log(2, 1, {"toy/accuracy": 0.5})
        whole = path.read_text()
        logger.log(3, 1, {"train/loss": 0.5})
    assert read(path) == [
        {"step": 1, "epoch": 0, "train/loss": 2.0},
        {"step": 2, "epoch": 1, "train/loss": 1.0, "toy/accuracy": 0.5},
        {"step": 3, "epoch": 1, "train/loss": 0.5},
    ]
    assert listener.heard[1:3] == [(2, {"train/loss": 1.0}), (2, {"toy/accuracy": 0.5})]
    with MetricsLogger(path, []) as logger:  # who goes on before the evaluation has a line without it
        logger.load_state_dict(state)
        assert read(path)[-1] == {"step": 2, "epoch": 0, "train/loss": 1.0}
        logger.log(2, 1, {"toy/accuracy": 0.5})
    assert path.read_text() == whole


def test_lines_that_are_lost_are_an_error_with_both_sizes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLogger(path, []) as logger:
        logger.log(1, 0, {"a": 1.0})
        state = logger.state_dict()
    path.write_text("{}\n")
    with MetricsLogger(path, []) as logger, pytest.raises(CheckpointError, match="has 3 bytes, and 34 when"):
        logger.load_state_dict(state)


def test_full_disk_keeps_earlier_lines(tmp_path):
    """A limit on the size of a file stands for a disk that takes a part of a line."""
    path, limit = tmp_path / "metrics.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    with MetricsLogger(path, []) as logger:
        logger.log(1, 0, {"train/loss": 1.0})
        before = path.read_text()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limit[1]))
        try:
            for step in (1, 2):  # the line grows; another begins
                with pytest.raises(DiskError, match=r"metrics\.jsonl' cannot be written: .* bytes needed"):
                    logger.log(step, 1, {"toy/accuracy": 0.5})
                assert path.read_text() == before
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
