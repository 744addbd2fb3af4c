"""Early stopping: what an improvement is, how a run ends by it, and that the end is one like any other."""

import math

import pytest

from ssl_core import ConfigError
from ssl_core.distributed.ranks import Distributed
from ssl_core.run.folder import RunFolder
from ssl_core.training.early_stopping import EarlyStopping
from ssl_core.training.fit_and_report import fit_and_report
from ssl_eval.metrics.registry import metric_of


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
        ("toy/uniformity", 0.0, [-1.0, -2.0, -3.0], None),  # lower is better
        ("toy/knn", 0.0, [math.nan, math.nan], 2),
    ],
)
def test_run_stops_early_after_patience_evaluations(make, monitor, min_delta, values, ends_after):
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


def test_unknown_metric_names_the_nearest_and_all_others(make):
    with pytest.raises(
        ConfigError, match=r"optim\.monitor='toy/kn': .*'toy/knn', 'train/loss'; did you mean 'toy/knn'\?"
    ):
        make("toy/kn").check({"train/loss", "toy/knn"})


def test_metric_without_a_value_is_no_improvement(make):
    stopping = make("toy/alpha_req")
    for epoch in (1, 2):
        stopping.observe({"toy/knn": 0.5}, epoch)
    assert "no finite value yet" in stopping.reason


@pytest.mark.parametrize(
    ("monitor", "steps", "near"),
    [
        ("toy/knnn", 0, "toy/knn"),
        ("toi/accuracy", 0, "toy/accuracy"),
        ("toy/probe_projector", 0, "toy/probe_backbone"),
        ("toy/lidar", 0, None),  # not among log.label_free
        ("loss", 0, None),
        ("train/los", 2, "train/loss"),  # the terms of the loss are known with the first line
    ],
)
def test_unknown_monitor_raises_before_training(make_config, tiny_model, monitor, steps, near):
    model = tiny_model(make_config(optim__monitor=monitor, log__every_steps=2))
    with pytest.raises(ConfigError, match=f"optim.monitor='{monitor}'") as caught:
        model.fit()
    assert model.progress.step == steps
    assert ("did you mean" in str(caught.value)) == (near is not None)
    assert near is None or f"did you mean '{near}'?" in str(caught.value)


def test_every_metric_of_a_run_may_be_monitored(make_config, tiny_model):
    """Names known before training are those that are logged in the end, and the registry has all of them."""
    logged = tiny_model(make_config(log__run="all", optim__epochs=1, log__label_free=["rankme", "alignment"])).fit()
    model = tiny_model(
        make_config(optim__monitor="toy/rankme", optim__epochs=1, log__label_free=["rankme", "alignment"])
    )
    model.fit()
    assert model.metric_names() - {"train/loss"} == {name for name in logged if not name.startswith("train/")}
    assert {metric_of(name).kind for name in model.metric_names()} == {"accuracy", "label-free", "collapse", "loss"}
    for name in logged:
        model.run.early_stopping.monitor = name
        model.run.early_stopping.check(model.metric_names())
        model.run.early_stopping.check(logged, logged=True)


def test_a_method_names_the_metrics_that_it_adds(make_config, tiny_model):
    class Added(tiny_model):
        def metric_names(self):
            return super().metric_names() | {"toy/mine"}

        def after_eval_epoch(self):
            self.run.metrics.log(self.progress.step, self.progress.epoch, {"toy/mine": 1.0})

    ended = Added(make_config(optim__monitor="toy/mine", optim__patience=1, optim__epochs=9))
    ended.fit()
    assert ended.progress.epoch == 2


@pytest.mark.parametrize("monitor", ["train/loss", "train/distance", "train/probe_backbone_loss"])
def test_training_metric_is_logged_at_each_epochs_end(make_config, tiny_model, monitor):
    """With log.every_steps larger than an epoch of 4 steps; the values are those of a run that logs each step."""
    config = make_config(optim__monitor=monitor, optim__patience=1, log__every_steps=100)
    tiny_model(config).fit()
    dense = make_config(log__run="dense", optim__monitor=monitor, optim__patience=1)
    tiny_model(dense).fit()
    found, expected = (RunFolder.of(each).read_metrics() for each in (config, dense))
    lines = {line["step"]: line[monitor] for line in found}
    assert list(lines) == [step for step in (4, 8, 12) if step in lines]
    assert lines == {line["step"]: line[monitor] for line in expected if line["step"] in lines}


def test_early_end_is_an_end_like_any_other(make_config, tiny_model, monkeypatch):
    """Evaluated, saved, reported, finished, with the reason; started again it changes nothing."""
    reported = []
    monkeypatch.setattr("ssl_core.training.fit_and_report.write_report", lambda model: reported.append(model) or [])
    config = make_config(
        optim__epochs=50, optim__patience=2, optim__monitor="toy/knn", optim__min_delta=1.0,
        log__report=True, log__checkpoint_every=40, log__eval_every=2,
    )  # fmt: skip
    first = fit_and_report(tiny_model(config))
    folder = RunFolder.of(config)
    ended = folder.read_summary()
    assert (ended["status"], ended["epoch"], ended["step"]) == ("finished", 6, 24)
    assert ended["stopped_early"].startswith("toy/knn has not improved in 2 evaluations: ")
    assert "after epoch 6" in ended["stopped_early"]
    assert sorted(path.name for path in folder.checkpoints.glob("*.pt")) == ["step_00000016.pt", "step_00000024.pt"]
    assert len(reported) == 1
    before = folder.metrics.read_bytes()
    config.log.report = False
    assert tiny_model(config).fit() == first
    assert folder.metrics.read_bytes() == before
    assert folder.read_summary()["stopped_early"] == ended["stopped_early"]
