"""RunSession alone, without a model."""

import json
import logging

import pytest
import torch

from ssl_core import ConfigError, RunFolder, RunFolderError
from ssl_core.training.session import RunSession


class Sink:
    def __init__(self):
        self.lines, self.closed = [], False

    def log(self, step, values):
        self.lines.append((step, values))

    def close(self):
        self.closed = True


def test_session_without_writing_leaves_no_folder(make_config):
    config = make_config()
    with RunSession(config, writes=False) as session:
        session.begin(object)
        session.metrics.log(1, 0, {"train/loss": 1.0})
        assert session.plan.total_steps == 12
        assert session.loaders.num_classes == 4
    assert not RunFolder.of(config).path.exists()


def test_session_writes_metrics_and_final_status(make_config):
    config, sink = make_config(), Sink()
    with RunSession(config) as session:
        session.begin(object)
        session.metrics.sinks.append(sink)
        session.summary.begin()
        assert session.folder.read_summary()["status"] == "running"
        session.metrics.log(1, 0, {"train/loss": 1.0})
    assert sink.lines == [(1, {"train/loss": 1.0})]
    assert sink.closed
    assert json.loads(session.folder.metrics.read_text()) == {"step": 1, "epoch": 0, "train/loss": 1.0}
    assert session.folder.read_summary()["status"] == "finished"


def _fail_in(session):
    with session:
        session.begin(object)
        session.summary.begin()
        raise ZeroDivisionError("division by zero")


def test_error_in_a_session_ends_the_run_as_failed(make_config):
    config = make_config()
    session = RunSession(config)
    with pytest.raises(ZeroDivisionError):
        _fail_in(session)
    summary = session.folder.read_summary()
    assert summary["status"] == "failed"
    assert summary["error"] == "ZeroDivisionError: division by zero"
    with RunSession(config) as again:  # the lock is free again
        again.begin(object)


def test_second_session_in_a_folder_raises(make_config):
    config = make_config()
    with RunSession(config) as first:
        first.begin(object)
        with RunSession(config) as second, pytest.raises(RunFolderError, match="another run works in"):
            second.begin(object)


def test_invalid_configuration_raises_before_data_is_opened(make_config):
    config = make_config(optim__warmup_epochs=9.0)
    with pytest.raises(ConfigError, match=r"optim\.warmup_epochs=9\.0"):
        RunSession(config)
    assert config.data.opened == 0


@pytest.mark.parametrize("level", [0, 30])
def test_fit_restores_threads_and_log_level(make_config, tiny_model, level):
    logger = logging.getLogger("ssl_core")
    before = logger.level
    logger.setLevel(level)
    torch.set_num_threads(1)
    try:
        seen = []

        class Looking(tiny_model):
            def after_train_epoch(self):
                seen.append((torch.get_num_threads(), logger.level))

        Looking(make_config(optim__epochs=1, hardware__num_threads=2, log__level="error")).fit()
        assert seen == [(2, 40)]
        assert (torch.get_num_threads(), logger.level) == (1, level)
    finally:
        logger.setLevel(before)
