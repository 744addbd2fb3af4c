"""``eval=zero_shot`` on the command line, against CLIP's formula in numpy (float64) and torchmetrics' accuracy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy

import forked
from ssl_core import BaseModel

RUNS = Path(__file__).parents[3] / "runs"
NAMES = [str(digit) for digit in range(10)]


def run(*words):
    return forked.run(words, RUNS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on the digits whose projector has 6 dimensions, and the backbone 32."""
    root = tmp_path_factory.mktemp("root")
    made = run(
        "main.py", "--config-name=simclr_digits", "++optim.epochs=3", "++optim.warmup_epochs=0", "++model.projector=[12,6]",
        "++model.backbone_options={width: 4}", "++log.report=false", "++log.eval_every=3", "++hardware.device=cpu",
        "++hardware.precision=fp32", "++data.num_workers=1", f"++log.folder={root}", "++log.run=mine",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return root / "mine"


@pytest.fixture(scope="module")
def images(trained):
    """Name of a representation -> its features of the test images ``(M, D) float64``, and their labels."""
    model = BaseModel.from_run(trained, device="cpu")
    loaders = model.config.data.open(64, 0, 0, 1)
    [loader] = loaders.evaluation.values()
    found, labels = {"backbone": [], "projector": []}, []
    with torch.no_grad():
        for views, label, _ in loader:
            x = views[0] if isinstance(views, list) else views
            features = model.backbone(x).flatten(1)
            found["backbone"].append(features)
            found["projector"].append(model.projector(features))
            labels.append(label)
    return {name: torch.cat(rows).double().numpy() for name, rows in found.items()}, torch.cat(labels)


def texts(images, labels, templates, noise, seed=0):
    """Class means of the images in noise, ``(K, T, D) float32``: recognised better than by chance, and not always."""
    means = np.stack([images[labels.numpy() == digit].mean(0) for digit in range(10)])
    rng = np.random.default_rng(seed)
    scale = noise * (means - means.mean(0)).std()
    return (means[:, None] + scale * rng.normal(size=(10, templates, images.shape[1]))).astype(np.float32)


def accuracy_of_clip(images, labels, text, k):
    """Templates are normalised, averaged and normalised again; the class with the largest cosine, in float64."""
    text = text.astype(np.float64)
    text = text / np.linalg.norm(text, axis=-1, keepdims=True)
    means = text.mean(1)
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosines = images / np.linalg.norm(images, axis=1, keepdims=True) @ means.T
    return float(multiclass_accuracy(torch.from_numpy(cosines), labels, num_classes=10, top_k=k, average="micro"))


def evaluated(trained, file, *words):
    done = run("eval.py", f"run={trained}", "eval=zero_shot", f"eval.zero_shot.text_features={file}", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((trained / "eval" / "zero_shot.json").read_text())


def check(document, images, labels, text):
    for name, k in (("zero_shot", 1), ("zero_shot_top5", 5)):
        assert document["metrics"][name] == pytest.approx(accuracy_of_clip(images, labels, text, k), abs=1e-6)
    assert 0.15 < document["metrics"]["zero_shot"] < document["metrics"]["zero_shot_top5"] < 1


@pytest.mark.slow
def test_zero_shot_accuracies_equal_clips(trained, images, tmp_path):
    """Of the projector by templates in any order with names; of the backbone by one text a class; both kept."""
    features, labels = images
    text = texts(features["projector"], labels, 3, 1.0)
    order = np.random.default_rng(1).permutation(10)
    torch.save(
        {"text_features": torch.from_numpy(text[order]), "class_names": [NAMES[row] for row in order]},
        tmp_path / "named.pt",
    )
    printed, document = evaluated(trained, tmp_path / "named.pt")
    check(document, features["projector"], labels, text)
    shown = {"features": "projector", "width": 6, "classes": 10, "templates": 3, "assigned_by": "name"}
    assert shown.items() <= document["zero_shot"].items()
    assert "zero-shot, top-5" in printed
    assert "images: projector, 6 dimensions" in printed
    hits = np.load(trained / document["hits"])
    assert hits.mean() == pytest.approx(document["metrics"]["zero_shot"], abs=1e-6)
    [kept] = (trained / "eval").glob("features_*.safetensors")  # not of the training images
    written = kept.stat().st_mtime_ns

    np.save(tmp_path / "ordered.npy", text)
    _, again = evaluated(trained, tmp_path / "ordered.npy", "eval.zero_shot.features=projector")
    assert again["metrics"] == document["metrics"]
    assert again["zero_shot"]["assigned_by"] == "order"
    assert kept.stat().st_mtime_ns == written

    wide = texts(features["backbone"], labels, 1, 0.5)
    np.savez(tmp_path / "wide.npz", text_features=wide[:, 0])
    _, third = evaluated(trained, tmp_path / "wide.npz")
    check(third, features["backbone"], labels, wide)
    assert third["zero_shot"]["features"] == "backbone"
    assert len(list((trained / "eval").glob("features_*.safetensors"))) == 2


@pytest.mark.slow
def test_zero_shot_is_added_to_a_protocol(trained, images, tmp_path):
    features, labels = images
    np.save(tmp_path / "text.npy", texts(features["projector"], labels, 1, 1.0))
    words = [
        "eval.knn=[5]",
        "eval.linear=false",
        "eval.few=[]",
        "eval.label_free=false",
        "eval.map_samples=0",
        "eval.pictures=0",
    ]
    done = run("eval.py", f"run={trained}", *words, f"++eval.zero_shot.text_features={tmp_path / 'text.npy'}")
    assert done.returncode == 0, done.stderr
    assert json.loads((trained / "eval" / "standard.json").read_text())["metrics"].keys() == {"knn_5"}
    document = json.loads((trained / "eval" / "standard_zero_shot.json").read_text())
    assert document["protocol"] == "standard_zero_shot"
    assert "zero_shot" in document["metrics"]
    report = run("stable-ssl", "report", trained)
    assert report.returncode == 0, report.stderr
    assert "zero-shot" in report.stdout


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (np.eye(9, 6) + 1, [], "it has 9 classes, and the data of the run 10"),
        (np.eye(10, 5) + 1, [], "the text features have 5 dimensions, the features of the images: backbone 32, projector 6; "),
        (np.eye(10, 6) + 1, ["backbone"], "the text features have 6 dimensions, the features of the images: backbone 32; "),
        (np.eye(10, 6) + 1, ["projecter"], "eval.zero_shot.features='projecter': expected one of 'auto', 'backbone', 'proj"),
        (None, [], "there is no such file"),
        ([*NAMES[:9], "none"], [], "text_names has no '9', a class of the images (1 are missing)"),
    ],
)  # fmt: skip
def test_invalid_zero_shot_is_one_line(trained, tmp_path, text, words, message):
    path = tmp_path / "text.npz"
    if isinstance(text, list):
        np.savez(path, text_features=np.eye(10, 6) + 1, class_names=text)
    elif text is not None:
        np.savez(path, text_features=text)
    before = set(trained.rglob("*.json"))
    given = [f"eval.zero_shot.text_features={path}", *(f"eval.zero_shot.features={word}" for word in words)]
    done = run("eval.py", f"run={trained}", "eval=zero_shot", *given)
    [line] = done.stderr.strip().splitlines()
    assert done.returncode == 2
    whole = message if message.startswith("eval.") else f"eval.zero_shot.text_features='{path}': {message}"
    assert line.startswith(whole)
    assert set(trained.rglob("*.json")) == before
