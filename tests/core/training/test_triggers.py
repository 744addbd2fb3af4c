"""What is due, asked at every place of a short run."""

import signal
import types

import pytest

from ssl_core.errors import Preempted
from ssl_core.run.progress import Progress
from ssl_core.run.signals import StopSignal
from ssl_core.training import triggers
from ssl_core.training.early_stopping import EarlyStopping
from ssl_core.training.triggers import Triggers


class Ranks:
    """Two ranks, of which the other has a flag of its own."""

    def __init__(self, other=False):
        self.other = other

    def any(self, flag):
        return flag or self.other


@pytest.fixture
def make(make_config):
    def make(progress, stop=None, ranks=None, early_stopping=None, **changes):
        ranks, never = ranks or Ranks(), EarlyStopping(None, 0, 0.0, ranks)
        return Triggers(make_config(**changes), progress, stop or StopSignal(), early_stopping or never, ranks)

    return make


@pytest.mark.parametrize(("every", "expected"), [(0, [5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_what_is_done_by_epochs_is_always_due_after_the_last(make, every, expected):
    progress = Progress()
    table = make(progress, optim__epochs=5, log__eval_every=every, log__checkpoint_every=every)
    evaluations, checkpoints = [], []
    while not table.is_over:
        progress.end_epoch()
        assert not table.is_over  # the evaluation is still to come
        evaluations += [progress.epoch] * table.evaluation_due
        checkpoints += [progress.epoch] * table.checkpoint_due
        progress.between_epochs = False
    assert evaluations == checkpoints == expected


def test_checkpoint_is_due_before_each_evaluation(make):
    table = make(Progress(epoch=3), optim__epochs=9, log__eval_every=3, log__checkpoint_every=0)
    assert table.evaluation_due
    assert table.checkpoint_due


def test_an_early_end_is_the_last_epoch(make):
    stopping = EarlyStopping("toy/knn", 1, 0.0, Ranks())
    progress = Progress(epoch=3)
    table = make(progress, early_stopping=stopping, optim__epochs=9, log__eval_every=5, log__checkpoint_every=5)
    assert not any((table.evaluation_due, table.checkpoint_due, table.is_over))
    stopping.load_state_dict({"best": 0.5, "waited": 1, "reason": "no improvement"})
    assert table.evaluation_due
    assert table.checkpoint_due
    assert table.is_over


def test_lines_and_checkpoints_by_steps(make):
    progress = Progress()
    table = make(progress, log__every_steps=3, log__checkpoint_every_steps=4)
    lines, checkpoints = [], []
    for progress.step in range(1, 13):
        lines += [progress.step] * table.log_due(progress.step % 4 == 0)
        checkpoints += [progress.step] * table.checkpoint_due_in_epoch
    assert (lines, checkpoints) == ([3, 6, 9, 12], [4, 8, 12])


def test_last_step_of_epoch_is_logged_if_monitored(make):
    stopping = EarlyStopping("train/loss", 0, 0.0, Ranks())
    table = make(Progress(step=4), early_stopping=stopping, log__every_steps=3)
    assert table.log_due(ends_epoch=True)
    assert not table.log_due(ends_epoch=False)


def test_minutes_are_counted_from_the_last_checkpoint(make, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(triggers, "time", types.SimpleNamespace(monotonic=lambda: now))
    table = make(Progress(step=1), log__checkpoint_every_minutes=0.5)
    now = 1029.9
    assert not table.checkpoint_due_in_epoch
    now = 1030.0
    assert table.checkpoint_due_in_epoch
    table.saved()
    assert not table.checkpoint_due_in_epoch


def test_a_signal_on_any_rank_saves_and_stops_all(make):
    stop = StopSignal()
    here, there = make(Progress(step=7), stop), make(Progress(step=7), ranks=Ranks(other=True))
    assert not here.stop_requested
    here.raise_if_stopped()
    stop.name = signal.SIGUSR1.name
    assert here.stop_requested
    assert here.checkpoint_due_in_epoch
    with pytest.raises(Preempted, match="SIGUSR1 at step 7: the state is saved"):
        here.raise_if_stopped()
    assert there.checkpoint_due_in_epoch
    with pytest.raises(Preempted, match="a signal to another rank at step 7"):
        there.raise_if_stopped()
