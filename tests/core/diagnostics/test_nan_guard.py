"""A run that diverges: it stops before the optimizer moves, says where, and writes down what shows the step again."""

import json

import pytest
import torch

from ssl_core import DivergedError
from ssl_core.run.folder import RunFolder


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


@pytest.fixture
def diverging(tiny_model):
    """The tiny model; its second term is spoilt at step 6, which is epoch 2, batch 2."""

    class Diverging(tiny_model):
        spoil = float("nan")

        def compute_loss(self):
            terms = super().compute_loss()
            if self.progress.step == 6:
                self.before = weights(self)
                terms["distance"] = terms["distance"] * self.spoil
            return terms

    return Diverging


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_nonfinite_loss_stops_before_the_optimizer_step(make_config, diverging, value):
    config = make_config(log__checkpoint_every=1)
    diverging.spoil = float(value)
    model = diverging(config)
    with pytest.raises(DivergedError, match=f"distance is {value} at epoch 2, batch 2, step 6, rank 0"):
        model.fit()
    assert all(torch.equal(model.before[name], weight) for name, weight in weights(model).items())
    folder = RunFolder.of(config)
    assert folder.read_summary()["status"] == "failed"
    assert f"distance is {value}" in folder.read_summary()["error"]
    assert [path.name for path in model.run.checkpoints.all()] == ["step_00000004.pt"]


def test_record_names_step_and_all_samples(make_config, diverging, toy_data):
    """Oracle for the samples: the loader, asked for that batch."""
    config = make_config(hardware__seed=3, log__checkpoint_every=1)
    with pytest.raises(DivergedError) as error:
        diverging(config).fit()
    record = json.loads(RunFolder.of(config).diverged.read_text())
    assert record == error.value.record
    finite = record["terms"][0].pop("classes")
    assert 0 < finite < 5
    loader = toy_data().open(16, 3).train
    _, _, ids = next(iter(loader.start(1, 2)))
    assert record == {
        "epoch": 1, "batch": 2, "step": 6, "during": "training", "term": "distance", "value": "nan", "rank": 0, "seed": 3,
        "ranks": 1, "threads": 1, "parameters": [], "checkpoint": "step_00000004.pt", "terms": [{"distance": "nan"}],
        "samples": [ids.tolist()],
    }  # fmt: skip


@pytest.mark.parametrize("clip", [None, 1.0])
def test_nonfinite_gradient_stops_and_names_the_parameters(make_config, tiny_model, clip):
    class Diverging(tiny_model):
        def compute_loss(self):
            self.before = weights(self)
            zero = self.head.bias.sum() * 0
            return {**super().compute_loss(), "root": zero.square().sqrt()}  # finite, with an infinite slope

    config = make_config(optim__grad_max_norm=clip)
    model = Diverging(config)
    with pytest.raises(DivergedError):
        model.fit()
    assert all(torch.equal(model.before[name], weight) for name, weight in weights(model).items())
    record = RunFolder.of(config).read_divergence()
    assert (record["term"], record["value"], record["step"]) == ("gradient norm", "nan", 0)
    assert record["parameters"] == ["head.bias"]
    assert record["checkpoint"] is None


def test_no_checkpoint_is_written_of_weights_that_are_not_finite(make_config, tiny_model):
    """A step may throw them out although loss and gradients were finite: the checkpoint before is the last good one."""

    class Thrown(tiny_model):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 6:
                self.head.weight.data[0, 0] = float("inf")

    config = make_config(log__checkpoint_every_steps=1, log__keep_checkpoints=1)
    model = Thrown(config)
    with pytest.raises(DivergedError) as caught:
        model.fit()
    found = caught.value.record
    assert [found[key] for key in ("term", "step", "parameters")] == ["weights", 5, ["head.weight"]]
    assert [path.name for path in model.run.checkpoints.all()] == ["step_00000005.pt"]


@pytest.fixture
def too_large(tiny_model):
    """The tiny model; after step 8, at the end of epoch 2, its weights are finite and its predictions are not."""

    class TooLarge(tiny_model):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 8:
                self.head.weight.data.fill_(3e38)

    return TooLarge


def test_nonfinite_predictions_end_the_evaluation(make_config, too_large):
    config = make_config()
    with pytest.raises(DivergedError, match="in the evaluation after step 7, rank 0"):
        too_large(config).fit()
    folder = RunFolder.of(config)
    record = folder.read_divergence()
    assert (record["epoch"], record["batch"], record["step"], record["during"]) == (1, 3, 7, "evaluation")
    assert folder.read_summary()["status"] == "failed"
    last = [line for line in folder.read_metrics() if "toy/accuracy" in line]
    assert [line["epoch"] for line in last] == [1]  # nothing of the evaluation that was not one


def test_nonfinite_weights_are_not_evaluated(make_config, tiny_model):
    class Thrown(tiny_model):
        def after_train_epoch(self):
            self.head.weight.data[0, 0] = float("nan")

        def before_eval_step(self):
            raise AssertionError("they are")

    with pytest.raises(DivergedError) as caught:
        Thrown(make_config(log__knn_samples=0)).fit()
    found = caught.value.record
    assert [found[key] for key in ("term", "step", "parameters")] == ["weights", 3, ["head.weight"]]


def test_divergence_without_a_step_is_recorded(make_config, tiny_model):
    class Infinite(tiny_model):
        def forward(self, x):
            return super().forward(x) if self.training else super().forward(x) / 0

    config = make_config(optim__epochs=0)
    with pytest.raises(DivergedError, match="before the first step"):
        Infinite(config).fit()
    record = RunFolder.of(config).read_divergence()
    assert record["step"] == -1
    assert "samples" not in record


def test_the_record_goes_when_the_run_gets_past_it(make_config, diverging, tiny_model):
    config = make_config()
    with pytest.raises(DivergedError):
        diverging(config).fit()
    tiny_model(config).fit()
    assert RunFolder.of(config).read_divergence() is None


def test_full_disk_does_not_hide_the_divergence(make_config, diverging, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_divergence", full)
    with pytest.raises(DivergedError, match="distance is nan"):
        diverging(make_config()).fit()
    assert "diverged.json cannot be written: [Errno 28] No space left" in caplog.text
