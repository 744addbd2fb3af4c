"""Errors on corrupted images and on other folders: of the clean probes, resumed, compared with a reference."""

import copy
import dataclasses
import importlib
import json
import shutil

import numpy as np
import pytest
import torch

from ssl_core import RunFolder
from ssl_core.config.robustness import Corruptions, Shifts
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_eval import Protocol, accuracy, knn, linear_probe

PROTOCOL = Protocol(name="robust", knn=[5], few=[], label_free=False, map_samples=0)
NAMES = ["dark", "noisy"]


class Positioned:
    """A loader with labels, fingerprint and subsets, as those of ssl-data."""

    def __init__(self, loader):
        self.loader = loader
        self.labels = loader.labels.numpy()

    def __iter__(self):
        return iter(self.loader)

    def fingerprint(self):
        return {"num_samples": len(self.labels)}

    def subset(self, positions):
        part = copy.copy(self.loader)
        part.images, part.labels = part.images[positions], part.labels[positions]
        return Positioned(part)


class Robust:
    """Loaders with two corruptions and a folder of three of the four classes, and two that were not trained on."""

    def __init__(self, loaders, class_names, computed):
        vars(self).update(vars(loaders))
        self.corruptions, self.class_names, self.computed = NAMES, class_names, computed

    def corrupted(self, name, severity, seed):
        if name not in NAMES:
            raise ValueError(f"corruption={name!r}: expected one of {NAMES}")
        clean = self.evaluation["toy"]
        loader = copy.copy(clean)
        noise = torch.randn(clean.images.shape, generator=torch.Generator().manual_seed(seed + severity))
        loader.images = clean.images / (1 + severity) if name == "dark" else clean.images + severity * noise
        self.computed.append((name, severity))
        return {"toy": loader}

    def of_folder(self, folder):
        if "missing" in folder:
            raise FileNotFoundError(f"folder={folder!r}: there is no such folder")
        loader = copy.copy(self.evaluation["toy"])
        kept = loader.labels != 1
        self.noise = torch.randn(loader.images.shape, generator=torch.Generator().manual_seed(5))
        loader.images, loader.labels = (
            0.1 * loader.images[kept] + self.noise[kept],
            torch.tensor([2, -1, 0, 3])[loader.labels[kept]],
        )
        loader.labels[:2] = 1  # an unknown class
        return Positioned(loader), [
            "c" if "other" not in folder else "x",
            "new",
            "a",
            "d" if "other" not in folder else "y",
        ]


def robust_data(base):
    @dataclasses.dataclass
    class RobustData(base):
        computed = []  # noqa: RUF012

        def open(self, *arguments, **keywords):
            return Robust(super().open(*arguments, **keywords), list("abcd"), self.computed)

    return RobustData


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def data(toy_data):
    return robust_data(toy_data)


@pytest.fixture
def run(finished, tmp_path, tiny_model, make_config):
    if not (finished / "run").exists():
        tiny_model(make_config(log__folder=str(finished))).fit()
    return RunFolder(shutil.copytree(finished / "run", tmp_path / "run"))


def features_of(run, tiny_model, data):
    """Return the loaders, and features and labels of the clean training images."""
    model = tiny_model.from_run(run.path, data=data)
    loaders = data().open(16, 0)
    return model, loaders, model.extract(loaders.reference)


def test_errors_are_those_of_the_clean_probes(run, tiny_model, data):
    how = Corruptions(severities=[1, 4], seed=3)
    (path,) = evaluate_checkpoint(run, PROTOCOL, method=tiny_model, data=data, corruptions=how)
    document = json.loads(path.read_text())
    model, loaders, train = features_of(run, tiny_model, data)
    found = document["corruptions"]
    assert found["severities"] == [1, 4]
    for name in NAMES:
        for place, severity in enumerate((1, 4)):
            test, labels = model.extract(loaders.corrupted(name, severity, 3)["toy"])
            linear = 1 - linear_probe(*train, test, labels).accuracy
            nearest = 1 - accuracy(knn(*train, test, k=5), labels, topk=(1,))[0]
            assert found["errors"]["linear"][name][place] == pytest.approx(linear)
            assert found["errors"]["knn_5"][name][place] == pytest.approx(nearest)
    assert found["errors"]["linear"]["noisy"][1] > found["clean"]["linear"]
    assert found["clean"]["linear"] == pytest.approx(1 - document["metrics"]["linear"])
    mean = np.mean(list(found["errors"]["linear"].values()))
    assert document["metrics"]["corruption_error_linear"] == pytest.approx(mean)
    assert "corruption_mce_linear" not in document["metrics"]
    assert run.read_summary()["evaluations"]["robust"]["corruption_error_linear"] == pytest.approx(mean)


def test_mce_is_relative_to_the_reference(run, tiny_model, data, tmp_path):
    reference = RunFolder(shutil.copytree(run.path, tmp_path / "reference"))
    options = {"method": tiny_model, "data": data}
    for each, how in (
        (reference, Corruptions(severities=[3, 5])),
        (run, Corruptions(["noisy"], [3, 5], str(reference.path))),
    ):
        (path,) = evaluate_checkpoint(each, PROTOCOL, **options, corruptions=how)
    document = json.loads(path.read_text())
    assert document["metrics"]["corruption_mce_linear"] == pytest.approx(1)
    assert document["corruptions"]["corruption_errors"]["knn_5"] == {"noisy": pytest.approx(1)}
    file = reference.evaluations / "robust.json"
    values = json.loads(file.read_text())
    doubled = [2 * error for error in values["corruptions"]["errors"]["linear"]["noisy"]]
    values["corruptions"]["errors"]["linear"]["noisy"] = doubled
    file.write_text(json.dumps(values))
    (path,) = evaluate_checkpoint(run, PROTOCOL, **options, corruptions=how)
    assert json.loads(path.read_text())["metrics"]["corruption_mce_linear"] == pytest.approx(0.5)


def test_finished_corruptions_are_not_computed_again(run, tiny_model, data, monkeypatch):
    """The evaluation ends at the third part, as if it was killed; the next one computes the others only."""
    options = {"method": tiny_model, "data": data, "corruptions": Corruptions(severities=[1, 2])}
    module = __import__("ssl_core.evaluation.other_data.robustness", fromlist=["collect_features"])
    calls, collect = [], module.collect_features

    def counting(loader, *arguments, **keywords):
        if len(calls) == 2:
            raise OSError("stopped")
        calls.append(loader)
        return collect(loader, *arguments, **keywords)

    monkeypatch.setattr(module, "collect_features", counting)
    with pytest.raises(OSError, match="stopped"):
        evaluate_checkpoint(run, PROTOCOL, **options)
    assert not (run.evaluations / "robust.json").exists()
    assert len(json.loads(next(run.evaluations.glob("parts/*.json")).read_text())) == 2
    calls.clear()
    (path,) = evaluate_checkpoint(run, PROTOCOL, **options)
    assert len(calls) == 2
    again = json.loads(path.read_text())["corruptions"]
    shutil.rmtree(run.evaluations / "parts")
    calls[:] = [None] * 9
    (path,) = evaluate_checkpoint(run, PROTOCOL, **options)
    assert json.loads(path.read_text())["corruptions"] == again


def test_folder_of_some_classes_is_scored_among_them(run, tiny_model, data):
    (path,) = evaluate_checkpoint(run, PROTOCOL, method=tiny_model, data=data, shifts=Shifts(["x/some", "missing"]))
    document = json.loads(path.read_text())
    model, loaders, train = features_of(run, tiny_model, data)
    loader, _ = loaders.of_folder("x/some")
    test, folders = model.extract(loader.loader)
    kept = folders != 1
    test, labels = test[kept], torch.tensor([2, -1, 0, 3])[folders[kept]]
    places = torch.tensor([0, 2, 3])
    scores = linear_probe(*train, test, labels).scores[:, places]
    expected = (places[scores.argmax(1)] == labels).double().mean()
    assert document["metrics"]["shift_linear_some"] == pytest.approx(float(expected))
    among = torch.isin(train[1], places)
    votes = knn(train[0][among], train[1][among], test, k=5)
    (nearest,) = accuracy(votes, labels, topk=(1,))
    assert document["metrics"]["shift_knn_5_some"] == pytest.approx(nearest)
    some = document["shifts"]["some"]
    assert (some["classes"], some["images"], some["left_out_images"]) == (3, len(labels), 2)
    assert document["omitted"] == {"shift_missing": "folder='missing': there is no such folder"}


def test_probe_is_fitted_once_and_the_model_opened_once(run, tiny_model, data, monkeypatch):
    """For the metrics, the corruptions, a folder, and the pictures of two evaluation sets."""

    class Twice(data):
        def open(self, *arguments, **keywords):
            loaders = super().open(*arguments, **keywords)
            loaders.evaluation = {"toy": loaders.evaluation["toy"], "again": loaders.evaluation["toy"]}
            loaders.corrupted = lambda *how: dict.fromkeys(loaders.evaluation, Robust.corrupted(loaders, *how)["toy"])
            return loaders

    calls = []

    def counted(module, name):
        module = importlib.import_module(module)
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: calls.append(name) or call(*a, **k))

    counted("ssl_core.evaluation.other_data.classifiers", "linear_probe")
    counted("ssl_core.evaluation.evaluate_checkpoint", "opened_model")
    changed = {"corruptions": Corruptions(severities=[1]), "shifts": Shifts(["x/some"])}
    paths = evaluate_checkpoint(run, PROTOCOL, method=tiny_model, data=Twice, **changed)
    assert calls == ["opened_model"]
    first, second = (json.loads(path.read_text()) for path in paths)
    assert [first["dataset"], second["dataset"]] == ["toy", "again"]
    assert first["metrics"] == second["metrics"]
    assert first["pictures"].keys() == second["pictures"].keys() >= {"neighbours"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruptions": Corruptions(["frost"])}, "eval.corruptions: corruption='frost': expected one of"),
        (
            {"corruptions": Corruptions(severities=[6])},
            "eval.corruptions.severities=.6.: expected .*, at least 1 and at most 5",
        ),
        ({"corruptions": Corruptions(severities=[])}, "eval.corruptions.severities=..: expected each one once"),
        ({"corruptions": Corruptions(names=["dark", "dark"])}, "eval.corruptions.names=.*: expected each one once"),
        (
            {"corruptions": Corruptions(reference="none")},
            "reference='none': 'none/eval/robust.json' has no errors on corruptions",
        ),
        ({"shifts": Shifts()}, "eval.shifts.folders=..: expected one or more folders with different names"),
        (
            {"shifts": Shifts(["a/x", "b/x/"])},
            "eval.shifts.folders=.*: expected one or more folders with different names",
        ),
        (
            {"shifts": Shifts(["other"])},
            "eval.shifts.folders: 'other': expected at least two of the 4 training classes",
        ),
    ],
)
def test_invalid_robustness_writes_nothing(run, tiny_model, data, options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_checkpoint(run, PROTOCOL, method=tiny_model, data=data, **options)
    assert not list(run.path.glob("eval/**/*.json"))


def test_reference_with_other_corruptions_is_an_error(run, tiny_model, data, tmp_path):
    reference = RunFolder(shutil.copytree(run.path, tmp_path / "reference"))
    options = {"method": tiny_model, "data": data}
    evaluate_checkpoint(reference, PROTOCOL, **options, corruptions=Corruptions(["dark"], [1]))
    for how, message in (
        (Corruptions(["dark"], [2], str(reference.path)), r"has the severities \[1\], expected \[2\]"),
        (Corruptions(["noisy"], [1], str(reference.path)), "lacks the corruptions noisy"),
        (Corruptions(["dark"], [1], str(reference.path), seed=3), "has eval.corruptions.seed=0, expected 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate_checkpoint(run, PROTOCOL, **options, corruptions=how)


def test_data_without_corruptions_and_classifiers_are_errors(run, tiny_model, toy_data, data):
    for options, protocol, message in (
        ({"corruptions": Corruptions()}, PROTOCOL, "the loaders of ToyData have no corrupted"),
        ({"shifts": Shifts(["a"])}, PROTOCOL, "the loaders of ToyData have no of_folder"),
        (
            {"data": data, "corruptions": Corruptions()},
            dataclasses.replace(PROTOCOL, knn=[], linear=False),
            "expected a classifier",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate_checkpoint(run, protocol, **{"method": tiny_model, "data": toy_data, **options})
