"""Data that changed between stop and resume."""

import dataclasses
import json

import pytest
import torch

from ssl_core import ConfigError, RunFolderError
from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.run.folder import RunFolder
from ssl_core.training.data.record import data_changes, record_data

TRAIN = {"num_samples": 1200, "class_names": ["cat", "dog"], "labels": "a", "images": "1,200 files, sha256 ab"}


@pytest.fixture
def fit(make_config, tiny_model, toy_data):
    """Return a function that trains one epoch on data with this fingerprint, in the same run folder each time."""

    @dataclasses.dataclass
    class Data(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            if self.found is not None:
                loaders.fingerprint = lambda: self.found
            return loaders

    def run(found):
        config = make_config(optim__epochs=1)
        config.data = Data()
        config.data.found = found
        tiny_model(config).fit()
        return RunFolder.of(config)

    return run


def changed(**values):
    return {"train": {**TRAIN, **values}}


def test_summary_and_checkpoint_record_the_data(fit):
    folder = fit({"train": TRAIN})
    assert folder.read_summary()["datasets"] == {"train": TRAIN}
    state = torch.load(CheckpointStore(folder.checkpoints).newest(), weights_only=True)
    assert state["datasets"] == {"train": TRAIN}


@pytest.mark.parametrize("lost", ["nothing", "summary"])
def test_resume_on_changed_data_raises(fit, lost):
    folder = fit({"train": TRAIN})
    if lost == "summary":  # the checkpoint has its own record
        folder.summary.unlink()
    before = [path.read_bytes() for path in (folder.summary, folder.metrics) if path.exists()]
    with pytest.raises(
        RunFolderError, match=r"^log.run='run': the data of the run .* has changed: train has 1,201"
    ) as error:
        fit(changed(num_samples=1201, images="1,201 files"))
    assert error.value.exit_code == 2
    assert "restore the data, or start another run with log.run=NAME" in str(error.value)
    assert [path.read_bytes() for path in (folder.summary, folder.metrics) if path.exists()] == before
    fit({"train": TRAIN})


def test_changed_data_raises_on_every_rank(tmp_path):
    """The main rank alone reads the data and the folder; the others learn from it."""

    class SecondRank:
        is_main = False

        def broadcast(self, value):
            assert value == ({}, None)
            return {"train": TRAIN}, {"train": {**TRAIN, "num_samples": 7}}

    with pytest.raises(RunFolderError, match="train has 1,200 samples, was 7"):
        record_data(None, RunFolder(tmp_path), CheckpointStore(tmp_path), SecondRank())


def test_unchanged_and_unknown_data_resume(fit):
    fit(None)
    fit({"train": TRAIN})  # the loaders of the first start had no fingerprint
    fit(None)
    assert fit({"train": TRAIN, "new": TRAIN}).read_summary()["status"] == "finished"


@pytest.mark.parametrize(
    ("now", "phrases"),
    [
        (changed(), []),
        (changed(num_samples=1199, labels="b", images="x"), ["train has 1,199 samples, was 1,200"]),
        (changed(class_names=["dog", "cat"]), ["train has its 2 classes in another order"]),
        (
            changed(class_names=["cat", "wolf"]),
            ["train has the new classes 'wolf' and no more the classes 'dog'"],
        ),
        (changed(labels="b"), ["train has other labels (b, was a)"]),
        (changed(images="c"), ["train has other images (c, was 1,200 files, sha256 ab)"]),
        ({"test": TRAIN}, []),
    ],
)
def test_each_difference_is_named(now, phrases):
    assert data_changes({"train": TRAIN}, now) == phrases


@pytest.mark.parametrize("before", [None, 5, {"train": 3}, {"train": {"num_samples": torch.zeros(3)}}])
def test_forged_records_do_not_crash_the_comparison(before):
    assert len(data_changes(before, {"train": TRAIN})) <= 1


@pytest.mark.parametrize("found", [[1], {"train": 3}, {"train": {"mean": torch.zeros(3)}}])
def test_fingerprints_must_be_plain(fit, found):
    with pytest.raises(ConfigError, match=r"data: fingerprint\(\) returned"):
        fit(found)


def test_records_survive_json(fit):
    """A tuple in the fingerprint comes back from summary.json as a list."""
    fit({"train": {**TRAIN, "class_names": ("cat", "dog")}})
    assert (
        json.loads(fit({"train": {**TRAIN, "class_names": ("cat", "dog")}}).summary.read_text())["status"] == "finished"
    )
