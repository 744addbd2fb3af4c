"""Fine-tuning as runs of their own: whose weights they begin with, that they go on where they stopped, what they leave."""

import hashlib
import json

import pytest
import torch

from ssl_core import RunFolder
from ssl_core.config.fine_tuning import FineTuning
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.methods import SimCLR, Supervised
from ssl_core.methods.simclr import SimCLRConfig
from ssl_eval import Protocol
from ssl_eval.metrics.registry import metric_of

NOTHING = Protocol("finetune", knn=[], linear=True, few=[], label_free=False, map_samples=0)
QUICK = {"fractions": [1.0], "epochs": 12, "warmup_epochs": 1, "batch_size": 16, "lr": 0.01}


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def weights_of(folder):
    return torch.load(max(folder.glob("checkpoints/*.pt")), weights_only=True)["model"]


@pytest.fixture
def run(make_config):
    """A run of two epochs of SimCLR on 64 images."""
    config = make_config(optim__epochs=2)
    config.model = SimCLRConfig("simclr", "resnet9", {"width": 2}, projector=[8])
    SimCLR(config).fit()
    return RunFolder.of(config)


def test_fine_tuning_starts_from_backbone_and_keeps_the_run(run, toy_data, monkeypatch):
    before = digests(run.path)
    seen = {}

    def remember(self):
        if self.progress.step == 0:
            seen.update({name: tensor.clone() for name, tensor in self.backbone.state_dict().items()})
            seen["rates"] = {group["lr"] for group in self.optimizer.param_groups}

    monkeypatch.setattr(Supervised, "before_train_epoch", remember)
    (path,) = evaluate_checkpoint(run, NOTHING, data=toy_data, fine_tuning=FineTuning(draws=2, **QUICK))
    source = weights_of(run.path)
    rates = seen.pop("rates")
    assert all(torch.equal(tensor, source[f"backbone.{name}"]) for name, tensor in seen.items())
    assert len(rates) > 2  # each layer its own
    document = json.loads(path.read_text())
    found = document["metrics"]["fine_tuning_100_percent"]
    assert {metric_of(name).kind for name in document["metrics"]} == {"accuracy", "error"}
    assert found["n"] == 2
    assert found["mean"] > 0.6  # of four classes; above the probe on real images, see tests/launch/test_evaluate.py
    assert document["settings"]["finetune"]["layer_decay"] == 0.75
    assert [each["seed"] for each in document["fine_tuning"]] == [0, 1]
    assert run.read_summary()["evaluations"]["finetune"]["fine_tuning_100_percent"] == found
    for each in document["fine_tuning"]:
        tuned = RunFolder(run.path / each["folder"])
        assert tuned.read_summary()["status"] == "finished"
        assert tuned.read_summary()["init_from"]["sha256"] == document["sha256"]
        ends = weights_of(tuned.path)
        assert not any(
            torch.equal(ends[f"backbone.{name}"], begins) for name, begins in seen.items() if begins.ndim > 1
        )
    after = digests(run.path)
    assert {path for path in before if after[path] != before[path]} == {run.summary}


def test_killed_fine_tuning_equals_uninterrupted_one(run, toy_data, tmp_path, monkeypatch):
    how = FineTuning(**QUICK)
    (path,) = evaluate_checkpoint(run, NOTHING, data=toy_data, fine_tuning=how)
    expected = json.loads(path.read_text())
    (entry,) = expected["fine_tuning"]
    weights = weights_of(run.path / entry["folder"])
    (run.path / entry["folder"]).rename(tmp_path / "uninterrupted")
    path.unlink()

    class Killed(Exception):
        pass

    def die(self):
        if self.progress.epoch == 11:  # a checkpoint after the tenth
            raise Killed

    monkeypatch.setattr(Supervised, "before_train_epoch", die)
    with pytest.raises(Killed):
        evaluate_checkpoint(run, NOTHING, data=toy_data, fine_tuning=how)
    assert not path.exists()
    monkeypatch.undo()
    begins = []
    monkeypatch.setattr(Supervised, "before_train_epoch", lambda self: begins.append(self.progress.epoch))
    moved = RunFolder(run.path.rename(tmp_path / "moved"))  # in the meantime
    (path,) = evaluate_checkpoint(moved, NOTHING, data=toy_data, fine_tuning=how)
    found = json.loads(path.read_text())
    assert begins == [10, 11]
    assert found["metrics"] == expected["metrics"]
    assert found["fine_tuning"] == expected["fine_tuning"]
    again = weights_of(moved.path / entry["folder"])
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
    evaluate_checkpoint(moved, NOTHING, data=toy_data, fine_tuning=how)
    assert begins == [10, 11]  # finished: it is read


def test_changed_settings_are_a_new_run(run, toy_data):
    class Shares(toy_data):
        def labelled_part(self, fraction, seed, views):
            asked.append((fraction, seed, views))
            return toy_data(views=1), 32

    asked = []
    short = {"fractions": [0.5, 1.0], "epochs": 1, "warmup_epochs": 0, "batch_size": 64, "seed": 3, "views": "mine"}
    for lr in (0.1, 0.2):
        evaluate_checkpoint(run, NOTHING, data=Shares, fine_tuning=FineTuning(**short, lr=lr))
    folders = sorted((run.evaluations / "fine_tuning").iterdir())
    assert [folder.name.rpartition("_")[0] for folder in folders] == ["100_percent_seed_3"] * 2 + [
        "50_percent_seed_3"
    ] * 2
    assert asked == [(0.5, 3, "mine"), (1.0, 3, "mine")] * 2
    assert RunFolder(folders[0]).read_config()["optim"]["batch_size"] == 32  # no more than there are


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fractions": [0.0]}, r"eval.finetune.fractions=\[0.0\]: expected a list of numbers, at most 1 and above 0"),
        ({"epochs": 2, "warmup_epochs": 3}, r"eval.finetune.warmup_epochs=3"),
        ({"fractions": [0.5]}, r"fractions=\[0.5\]: ToyData gives all of its images.*labelled_part"),
        ({"fractions": [1.0], "views": "simclr"}, "views='simclr': ToyData gives"),
    ],
)
def test_invalid_fine_tuning_raises_and_writes_nothing(run, toy_data, changes, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_checkpoint(run, NOTHING, data=toy_data, fine_tuning=FineTuning(**changes))
    assert not (run.evaluations / "fine_tuning").exists()
    assert not list(run.evaluations.glob("*.json"))


def test_user_defined_backbone_raises_by_name(make_config, tiny_model, toy_data):
    config = make_config(optim__epochs=1)
    tiny_model(config).fit()
    with pytest.raises(
        ConfigError, match=r"built anew by its name, model.backbone='resnet18', and tiny has a user-defined one"
    ):
        evaluate_checkpoint(
            RunFolder.of(config), NOTHING, method=tiny_model, data=toy_data, fine_tuning=FineTuning(**QUICK)
        )
