"""Early stopping: what an improvement is, how a run ends by it, and that the end is one like any other."""

import math

import pytest

from ssl_core import ConfigError
from ssl_core.distributed import Distributed
from ssl_core.early_stopping import EarlyStopping
from ssl_core.run_folder import RunFolder


@pytest.fixture
def make(tmp_path):
    alone = Distributed("cpu", tmp_path)
    return lambda monitor, patience=2, min_delta=0.0: EarlyStopping(monitor, patience, min_delta, alone)


@pytest.mark.parametrize(
    ("monitor", "min_delta", "values", "ends_after"),
    [
        ("toy/knn", 0.0, [0.1, 0.2, 0.2, 0.3, 0.2, 0.3], 6),  # the third is one, the fifth and sixth are two
        ("toy/knn", 0.15, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], None),  # better than the best by more, each second time
        ("toy/knn", 0.5, [0.1, 0.2, 0.3], 3),
        ("train/loss", 0.0, [3.0, 2.0, 1.0, 1.5, 1.0], 5),
        ("train/probe_backbone_loss", 0.0, [1.0, 2.0, 3.0], 3),
        ("lossless/accuracy", 0.0, [0.1, 0.2, 0.3], None),  # the data set's name is not the metric's
        ("toy/knn", 0.0, [math.nan, math.nan], 2),
    ],
)
def test_a_run_ends_after_so_many_evaluations_without_an_improvement(make, monitor, min_delta, values, ends_after):
    stopping = make(monitor, min_delta=min_delta)
    for number, value in enumerate(values, start=1):
        stopping.observe({monitor: value}, number)
        if stopping.reason:
            break
    assert (number if stopping.reason else None) == ends_after


def test_without_patience_nothing_ends(make):
    stopping = make("toy/knn", patience=0)
    for epoch in range(99):
        stopping.observe({"toy/knn": 0.1}, epoch)
    assert not stopping.reason


def test_an_unknown_metric_is_refused_with_the_nearest_and_all_others(make):
    with pytest.raises(
        ConfigError, match=r"optim\.monitor='toy/kn': .*'toy/knn', 'train/loss'; did you mean 'toy/knn'\?"
    ):
        make("toy/kn").observe({"train/loss": 1.0, "toy/knn": 0.5}, 1)


def test_an_early_end_is_an_end_like_any_other(make_config, tiny_model):
    """Evaluated, saved, reported, finished, with the reason; started again it changes nothing."""
    config = make_config(
        optim__epochs=50, optim__patience=2, optim__monitor="toy/knn", optim__min_delta=1.0,
        log__report=True, log__checkpoint_every=40, log__eval_every=2,
    )  # fmt: skip
    first = tiny_model(config).fit()
    folder = RunFolder.of(config)
    ended = folder.read_summary()
    assert (ended["status"], ended["epoch"], ended["step"]) == ("finished", 6, 24)
    assert ended["stopped_early"].startswith("toy/knn has not improved in 2 evaluations: ")
    assert "after epoch 6" in ended["stopped_early"]
    assert sorted(path.name for path in folder.checkpoints.glob("*.pt")) == ["step_00000016.pt", "step_00000024.pt"]
    assert folder.table.exists()
    before = folder.metrics.read_bytes()
    config.log.report = False
    assert tiny_model(config).fit() == first
    assert folder.metrics.read_bytes() == before
    assert folder.read_summary()["stopped_early"] == ended["stopped_early"]
