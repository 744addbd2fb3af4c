"""Linear evaluation on other data sets: metrics, the mean, what is missing, and what is not computed again."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from ssl_core import RunFolder
from ssl_core.config.transfer import Transfer
from ssl_core.errors import ConfigError, RunError
from ssl_core.evaluation.other_data.transfer import evaluate_transfer
from ssl_eval import linear_probe, multilabel_probe
from ssl_eval.runs.evaluation_record import EvaluationRecord

METRICS = {"Colours": "accuracy", "data/rare": "mean_per_class", "Objects": "voc_map"}


def loader(images, labels):
    ids = torch.arange(len(labels)).flip(0)  # in any order: rows are sorted by id
    return [([images[part]], labels[part], part) for part in ids.split(16)]


class Opener:
    """Opens noise with a trace of the label; counts how often each data set was opened."""

    def __init__(self):
        self.opened = []

    def __call__(self, name, root, image_shape, mean, std, batch_size, download, metric, seed):
        assert (root, image_shape, mean, std, batch_size, download) == ("somewhere", [3, 8, 8], [0.0], [1.0], 16, False)
        self.opened.append(name)
        if name == "Missing":
            raise FileNotFoundError("root='somewhere': not\nthere")
        if name == "Broken":
            raise ValueError("its images have 4 bands")
        generator = torch.Generator().manual_seed(len(name))
        labels = (torch.rand(150, generator=generator) ** 3 * 3).long()
        labels[:3] = torch.arange(3)
        images = torch.randn(150, 3, 8, 8, generator=generator) + 0.3 * labels[:, None, None, None]
        metric = metric or METRICS[name]
        targets = None
        if metric == "voc_map":
            both = torch.stack([labels > 0, labels == 2], 1).long().numpy()
            targets, labels = (both[:100], both[100:]), torch.full_like(labels, -1)
        train, test = loader(images[:100], labels[:100]), loader(images[100:], labels[100:])
        return SimpleNamespace(
            train=train, test=test, metric=metric, targets=targets, fingerprint=lambda: {"train": name}
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def run(finished, tmp_path, tiny_model, make_config):
    if not (finished / "run").exists():
        tiny_model(make_config(log__folder=str(finished))).fit()
    folder = RunFolder(shutil.copytree(finished / "run", tmp_path / "run"))
    folder.write_summary({**folder.read_summary(), "mean": [0.0], "std": [1.0]})
    return folder


def evaluated(run, tiny_model, toy_data, datasets, opener=None, **options):
    how = Transfer(datasets=datasets, root="somewhere", **options)
    path = evaluate_transfer(run, how, opener or Opener(), method=tiny_model, data=toy_data)
    return json.loads(path.read_text())


def test_each_data_set_has_its_metric(run, tiny_model, toy_data):
    """Oracle: scikit-learn's accuracy and balanced accuracy of the probe's predictions."""
    document = evaluated(run, tiny_model, toy_data, ["Colours", "data/rare", "Objects"])
    model = tiny_model.from_run(run.path, data=toy_data)
    expected = {}
    for name, metric in METRICS.items():
        opened = Opener()(name, "somewhere", [3, 8, 8], [0.0], [1.0], 16, False, None, 0)
        parts = [model.extract(part) for part in (opened.train, opened.test)]
        (train, train_labels), (test, labels) = [(rows.flip(0), labels.flip(0)) for rows, labels in parts]
        if metric == "voc_map":
            of_train, of_test = map(torch.from_numpy, opened.targets)
            expected[name] = multilabel_probe(train, of_train, test, of_test).mean_average_precision
            continue
        predicted = linear_probe(train, train_labels, test, labels).scores.argmax(1)
        score = accuracy_score if metric == "accuracy" else balanced_accuracy_score
        expected[name] = score(labels, predicted)
    assert {name: each["value"] for name, each in document["transfer"].items()} == pytest.approx(expected)
    assert {name: each["metric"] for name, each in document["transfer"].items()} == METRICS
    assert document["transfer"]["data/rare"]["train_images"] == 100
    assert document["metrics"] == pytest.approx(
        {
            "transfer_mean": sum(expected.values()) / 3, "transfer_Colours": expected["Colours"],
            "transfer_rare": expected["data/rare"], "transfer_Objects": expected["Objects"],
        }
    )  # fmt: skip
    assert run.read_summary()["evaluations"]["transfer"]["transfer_mean"] == document["metrics"]["transfer_mean"]
    record = EvaluationRecord(run.evaluations / "transfer.json")
    record.check()
    assert record.value("transfer_mean") == document["metrics"]["transfer_mean"]


def test_missing_data_sets_are_skipped_and_named(run, tiny_model, toy_data):
    document = evaluated(run, tiny_model, toy_data, ["Missing", "Colours"])
    assert document["omitted"] == {"transfer_Missing": "root='somewhere': not there"}
    assert document["metrics"].keys() == {"transfer_mean", "transfer_Colours"}


def test_finished_data_sets_are_not_computed_again(run, tiny_model, toy_data, monkeypatch):
    """A data set that fails ends the evaluation; the next one reads those before it."""
    with pytest.raises(RunError, match=r"eval\.transfer: Broken: its images have 4 bands"):
        evaluated(run, tiny_model, toy_data, ["Colours", "Broken"])
    assert not (run.evaluations / "transfer.json").exists()
    module = __import__("ssl_core.evaluation.other_data.transfer", fromlist=["_evaluate"])
    computed, evaluate = [], module._evaluate
    monkeypatch.setattr(module, "_evaluate", lambda *arguments: computed.append(1) or evaluate(*arguments))
    first = evaluated(run, tiny_model, toy_data, ["Colours", "data/rare"])
    assert len(computed) == 1
    assert (
        evaluated(run, tiny_model, toy_data, ["data/rare"])["metrics"]["transfer_rare"]
        == first["metrics"]["transfer_rare"]
    )
    assert len(computed) == 1
    other = evaluated(run, tiny_model, toy_data, ["data/rare"], metrics={"data/rare": "accuracy"})
    assert len(computed) == 2
    assert other["metrics"]["transfer_rare"] != first["metrics"]["transfer_rare"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"datasets": ["Missing"]},
            "eval.transfer.datasets: none of 1 was found; the first: Missing: root='somewhere': not there",
        ),
        ({"datasets": []}, "eval.transfer.datasets=..: expected each one once, at least one"),
        (
            {"datasets": ["a/birds", "b/birds/"]},
            "expected each one once, at least one, and folders with different names",
        ),
        (
            {"datasets": ["Colours"], "metrics": {"Colors": "accuracy"}},
            "eval.transfer.metrics.Colors='Colors': expected",
        ),
        (
            {"datasets": ["Colours"], "metrics": {"Colours": "mean_per_clas"}},
            "eval.transfer.metrics.Colours='mean_per_clas': .*did you mean 'mean_per_class'",
        ),
    ],
)
def test_invalid_transfer_writes_nothing(run, tiny_model, toy_data, options, message):
    with pytest.raises(ConfigError, match=message):
        evaluated(run, tiny_model, toy_data, **options)
    assert not run.evaluations.exists()


def test_run_without_normalisation_is_an_error(run, tiny_model, toy_data):
    summary = run.read_summary()
    del summary["mean"]
    run.write_summary(summary)
    with pytest.raises(RunError, match="has recorded no image_shape, mean and std"):
        evaluated(run, tiny_model, toy_data, ["Colours"])
