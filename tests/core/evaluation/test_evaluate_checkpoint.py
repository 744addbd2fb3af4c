"""Evaluation of a checkpoint from its folder: features, their cache, the files that are written, and errors."""

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import numpy as np
import pytest
import torch

from ssl_core import RunFolder
from ssl_core.config.dense import DenseEvaluation
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.transfer import Transfer
from ssl_core.config.zero_shot import ZeroShot
from ssl_core.errors import CheckpointError, ConfigError, DiskError, RunFolderError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.evaluation_file import write_evaluation
from ssl_core.evaluation.feature_cache import extract_features
from ssl_core.evaluation.other_data.dense import evaluate_dense
from ssl_core.evaluation.other_data.landmarks import evaluate_landmarks
from ssl_core.evaluation.other_data.text_features import TextFeatures
from ssl_core.evaluation.other_data.transfer import evaluate_transfer
from ssl_core.evaluation.other_data.zero_shot import evaluate_zero_shot
from ssl_core.run.source_location import load_class
from ssl_eval import Protocol, evaluate_features, linear_probe

QUICK = Protocol(few=[2], draws=2, map_samples=20)
IDEA = """
import torch
from ssl_core import BaseModel

class Idea(BaseModel):
    def initialize_modules(self):
        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8))

    def forward(self, x):
        return self.backbone(x)

    def features(self, x):
        return 1.0 * super().features(x)

    def compute_loss(self):
        return self.forward(self.data[0][0]).square().mean()
"""


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs, made once."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def run(finished, tmp_path, tiny_model, make_config):
    if not (finished / "run").exists():
        tiny_model(make_config(log__folder=str(finished), log__checkpoint_every=1)).fit()
    return RunFolder(shutil.copytree(finished / "run", tmp_path / "moved"))


def test_features_equal_the_trained_backbone_on_each_image(run, tiny_model, toy_data):
    found = extract_features(run, method=tiny_model, data=toy_data)
    features = found.features["toy"]
    data = toy_data().open(16, 0)
    state = torch.load(max(run.checkpoints.glob("*.pt")), weights_only=True)["model"]
    weight, bias = state["backbone.1.weight"], state["backbone.1.bias"]
    hidden = data.evaluation["toy"].images.flatten(1) @ weight.T + bias
    norm = torch.nn.functional.batch_norm(
        hidden, *(state[f"backbone.2.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    )
    torch.testing.assert_close(features.test, norm.relu(), rtol=1e-4, atol=1e-5)
    assert torch.equal(features.test_labels, data.evaluation["toy"].labels)
    assert features.train.shape == (64, 16)
    assert features.views.shape == (64, 2, 16)
    assert found.facts["step"] == 12
    assert found.facts["epoch"] == 3


def test_features_are_cached_for_the_same_weights_only(run, tiny_model, toy_data, monkeypatch):
    options = {"method": tiny_model, "data": toy_data}
    first = extract_features(run, **options)
    kept = next(run.evaluations.glob("features_*.safetensors"))
    monkeypatch.setattr(tiny_model, "features", None)  # nothing is computed again
    second = extract_features(run, **options)
    monkeypatch.undo()
    assert (first.cached, second.cached) == (False, True)
    assert torch.equal(first.features["toy"].test, second.features["toy"].test)
    assert torch.equal(first.features["toy"].views, second.features["toy"].views)
    kept.write_bytes(kept.read_bytes()[:-10])  # damaged: extracted again, and replaced
    assert not extract_features(run, **options).cached
    assert extract_features(run, **options).cached
    older = min(run.checkpoints.glob("*.pt"))
    assert not extract_features(run, older, **options).cached
    assert len(list(run.evaluations.glob("features_*.safetensors"))) == 2


def test_features_of_other_images_are_not_read_from_the_cache(run, tiny_model, toy_data):
    """As after images at the same place were replaced, and with another object in ``evaluate_checkpoint(data=...)``."""

    class Recorded(toy_data):
        scale = 1.0

        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            loaders.evaluation["toy"].images *= self.scale
            loaders.fingerprint = lambda: {"toy": {"images": str(self.scale)}}
            return loaders

    first = extract_features(run, method=tiny_model, data=Recorded)
    assert extract_features(run, method=tiny_model, data=Recorded).cached
    Recorded.scale = 3.0
    second = extract_features(run, method=tiny_model, data=Recorded)
    assert not second.cached
    images = toy_data().open(16, 0).evaluation["toy"].images
    expected = tiny_model.from_run(run.path, data=toy_data).backbone(3 * images).detach()
    torch.testing.assert_close(second.features["toy"].test, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(first.features["toy"].test, second.features["toy"].test)


def test_features_of_changed_code_are_not_read_from_the_cache(tmp_path, make_config, toy_data):
    file = tmp_path / "idea.py"
    file.write_text(IDEA)
    config = make_config(optim__epochs=1)
    load_class(f"{file}:Idea")(config).fit()
    found = []
    changed = IDEA.replace("1.0 *", "30.0 *")  # of another length: Python compares time in seconds and size
    for code in (IDEA, IDEA, changed):
        file.write_text(code)
        found.append(extract_features(RunFolder.of(config), method=load_class(f"{file}:Idea"), data=toy_data))
    assert [each.cached for each in found] == [False, True, False]
    first, _, last = (each.features["toy"].test for each in found)
    torch.testing.assert_close(last, 30 * first)


def test_metrics_equal_the_protocol_and_the_run_is_unchanged(run, tiny_model, toy_data):
    before = digests(run.path)
    options = {"method": tiny_model, "data": toy_data}
    (path,) = evaluate_checkpoint(run, QUICK, **options)
    document = json.loads(path.read_text())
    features = extract_features(run, **options).features["toy"]
    expected = evaluate_features(features, QUICK)
    assert document["metrics"] == json.loads(json.dumps(expected.metrics))
    data = features.train, features.train_labels, features.test, features.test_labels
    assert document["metrics"]["linear"] == linear_probe(*data).accuracy
    assert {"lidar", "alignment", "rankme"} <= document["metrics"].keys()
    assert document["checkpoint"] == "step_00000012.pt"
    assert document["settings"]["few"] == [2]
    assert document["versions"]["torch"] == version("torch")
    assert (document["seed"], document["settings"]["seed"]) == (0, 0)
    assert datetime.now(UTC) - datetime.strptime(document["date"], "%Y-%m-%dT%H:%M:%S%z") < timedelta(minutes=2)
    assert document["seconds"] >= document["seconds_of_extraction"] > 0
    hits = np.load(run.path / document["hits"], allow_pickle=False)
    assert hits.dtype == bool
    assert hits.mean() == document["metrics"]["linear"]
    summary = run.read_summary()
    assert summary["status"] == "finished"
    assert summary["evaluations"]["standard"]["linear"] == document["metrics"]["linear"]
    after = digests(run.path)
    assert {path for path in before if after[path] != before[path]} == {run.summary}
    assert {path.parent for path in after.keys() - before.keys()} == {run.evaluations}


def test_images_of_another_data_set_are_embedded_once(run, tiny_model, toy_data, monkeypatch):
    """The features are those of the backbone on these images; the same images are read from the cache."""
    options = {"method": tiny_model, "data": toy_data}
    opened = []

    def open_other(loaders, batch_size, rank, world_size):
        loader = loaders.evaluation["toy"]
        loader.images = loader.images.flip(3)
        loader.fingerprint = lambda: {"digest": "flipped"}
        opened.append((batch_size, rank, world_size))
        return loader

    found = extract_features(run, others={"flipped": open_other}, **options)
    assert opened == [(16, 0, 1)]
    ood = found.features["toy"].ood["flipped"]
    model = tiny_model.from_run(run.path, data=toy_data)
    images = toy_data().open(16, 0).evaluation["toy"].images
    with torch.no_grad():
        torch.testing.assert_close(ood, model.backbone(images.flip(3)), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(tiny_model, "features", None)  # nothing is computed again
    again = extract_features(run, others={"flipped": open_other}, **options).features["toy"]
    assert torch.equal(again.ood["flipped"], ood)
    (path,) = evaluate_checkpoint(run, QUICK, others={"flipped": open_other}, **options)
    document = json.loads(path.read_text())
    assert document["metrics"]["ood_auroc_flipped_by_knn"] > 0
    assert document["ood"] == {"flipped": 32}


def test_images_that_do_not_fit_raise_and_nothing_is_written(run, tiny_model, toy_data):
    def open_other(*_):
        raise FileNotFoundError("no such\nfolder")

    with pytest.raises(ConfigError, match="ood='svhn': no such folder"):
        evaluate_checkpoint(run, QUICK, method=tiny_model, data=toy_data, others={"svhn": open_other})
    assert not run.evaluations.exists()


def test_hits_on_a_gpu_are_written(run):
    """A stand-in for a CUDA tensor, which is no array until it has been copied to the CPU."""

    class OnGPU:
        def numpy(self):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

        def cpu(self):
            return torch.tensor([True, False])

    path = write_evaluation(run, "mine", {"step": 12, "metrics": {}}, OnGPU())
    assert np.load(run.path / json.loads(path.read_text())["hits"]).tolist() == [True, False]


def test_older_checkpoint_has_its_own_file(run, tiny_model, toy_data):
    older = sorted(run.checkpoints.glob("*.pt"))[0]
    (path,) = evaluate_checkpoint(run, QUICK, older, method=tiny_model, data=toy_data)
    assert path.name == "standard_step_8.json"


def test_evaluation_of_an_earlier_checkpoint_is_kept(run, tiny_model, toy_data, tmp_path):
    """As when a run in progress is watched."""
    options = {"method": tiny_model, "data": toy_data}
    *older, newest = sorted(path for path in run.checkpoints.iterdir() if path.suffix == ".pt")
    newest.rename(tmp_path / newest.name)
    (first,) = evaluate_checkpoint(run, QUICK, older[-1], **options)
    before = json.loads(first.read_text())
    hits = np.load(run.path / before["hits"])
    (tmp_path / newest.name).rename(newest)
    (second,) = evaluate_checkpoint(run, QUICK, **options)
    assert first == second
    kept = json.loads((run.evaluations / "standard_step_8.json").read_text())
    assert json.loads(second.read_text())["step"] == 12
    pictures = {picture: f"eval/standard_step_8_{picture}.png" for picture in before["pictures"]}
    assert kept == before | {"hits": "eval/standard_step_8_hits.npy", "pictures": pictures}
    assert all((run.path / file).is_file() for file in pictures.values())
    assert np.array_equal(np.load(run.path / kept["hits"]), hits)
    evaluate_checkpoint(run, QUICK, **options)  # again: nothing older to keep
    assert len(list(run.evaluations.glob("*.json"))) == 2


def test_evaluations_survive_a_resumed_run(run, tiny_model, toy_data, make_config):
    evaluate_checkpoint(run, QUICK, method=tiny_model, data=toy_data)
    tiny_model(make_config(log__run="moved", log__checkpoint_every=1)).fit()  # finished: only its summary is new
    assert "standard" in run.read_summary()["evaluations"]


@pytest.mark.parametrize("part", ["training", "test"])
def test_unlabelled_images_give_what_needs_no_labels(run, tiny_model, toy_data, part):
    class Unlabelled(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            loader = loaders.reference if part == "training" else loaders.evaluation["toy"]
            loader.labels = torch.full_like(loader.labels, -1)
            return loaders

    (path,) = evaluate_checkpoint(run, QUICK, method=tiny_model, data=Unlabelled)
    document = json.loads(path.read_text())
    assert {"rankme", "uniformity", "lidar"} <= document["metrics"].keys()
    assert document["omitted"]["linear"] == f"no {part} image has a label"
    assert "linear" not in document["metrics"]
    assert ("map" in document) == (part == "training")


def test_data_without_test_images_is_an_error(run, tiny_model, toy_data):
    class TrainingOnly(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            loaders.evaluation = {}
            return loaders

    options = {"method": tiny_model, "data": TrainingOnly}
    text = TextFeatures(torch.eye(4, 16), None, "digest")
    for evaluate in (
        lambda: evaluate_checkpoint(run, QUICK, **options),
        lambda: evaluate_zero_shot(run, ZeroShot(text_features="x.npy"), text, **options),
    ):
        with pytest.raises(ConfigError, match=f"'{run.path}': its data has no test images to evaluate; expected"):
            evaluate()
    assert not run.evaluations.exists()


def test_invalid_evaluation_raises_and_writes_nothing(run, tiny_model, toy_data, tmp_path):
    options = {"method": tiny_model, "data": toy_data}
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        evaluate_checkpoint(RunFolder(tmp_path), QUICK, **options)
    for path in run.checkpoints.glob("*.pt"):
        path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"no intact checkpoint.*step_00000012"):
        evaluate_checkpoint(run, QUICK, **options)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        evaluate_checkpoint(run, QUICK, **options)
    assert not run.evaluations.exists()


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, "WORLD_SIZE"),
        (
            {"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
            "SLURM_NTASKS",
        ),
    ],
)
def test_evaluation_on_several_ranks_is_an_error(run, tiny_model, toy_data, monkeypatch, variables, key):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for evaluate in (
        lambda: evaluate_checkpoint(run, QUICK, method=tiny_model, data=toy_data),
        lambda: evaluate_dense(run, DenseEvaluation(root="x"), None, method=tiny_model, run_data=toy_data),
        lambda: evaluate_transfer(run, Transfer(["x"]), None, method=tiny_model, data=toy_data),
        lambda: evaluate_landmarks(run, Landmarks(root="x"), None, method=tiny_model, run_data=toy_data),
        lambda: evaluate_zero_shot(run, ZeroShot(text_features="x.npy"), None, method=tiny_model, data=toy_data),
    ):
        with pytest.raises(
            ConfigError, match=f"{key}=2: an evaluation runs in one process: start it without torchrun.*expected 1"
        ):
            evaluate()
    assert not run.evaluations.exists()


def test_read_only_run_is_an_error_before_features_are_extracted(run, tiny_model, toy_data, monkeypatch):
    """``access`` says no, as it does of a read-only disk, and of a colleague's folder."""
    monkeypatch.setattr(tiny_model, "features", None)
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith(str(run.path)))
    options = {"method": tiny_model, "data": toy_data}
    with pytest.raises(DiskError, match=f"'{run.evaluations}' cannot be written: '{run.path}' is read-only"):
        evaluate_checkpoint(run, QUICK, **options)
    with pytest.raises(DiskError, match="is read-only"):
        evaluate_dense(run, DenseEvaluation(root="x"), None, method=tiny_model, run_data=toy_data)
    with pytest.raises(DiskError, match="is read-only"):
        evaluate_transfer(run, Transfer(["x"]), None, method=tiny_model, data=toy_data)
    assert not run.evaluations.exists()
