"""Folders in the layout of revisited Oxford and Paris: files, boxes, and what is invalid in one line."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from ssl_core.config.landmarks import Landmarks
from ssl_core.errors import ConfigError
from ssl_core.evaluation.other_data.landmark_folder import read_landmark_folder


def contents():
    entry = {"bbx": [1.5, 2.0, 3.0, 4.0], "easy": [0, 2], "hard": [1], "junk": []}
    return {"imlist": ["a", "b", "c.png"], "qimlist": ["q", "r"], "gnd": [entry, {**entry, "easy": []}]}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "roxford5k"
    (folder / "jpg").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.png", "q.jpg", "r.jpg"):
        Image.new("RGB", (8, 8)).save(folder / "jpg" / name)
    return folder


def test_pickle_and_json_have_the_same_contents(root):
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(contents(), 2))
    found = read_landmark_folder(Landmarks(root=str(root)))
    assert (found.name, found.root) == ("roxford5k", root / "jpg")
    assert (found.gallery, found.queries) == (["a.jpg", "b.jpg", "c.png"], ["q.jpg", "r.jpg"])
    assert found.boxes == [(1.5, 2.0, 3.0, 4.0)] * 2
    assert found.ground_truth == contents()["gnd"]
    (root / "other.json").write_text(json.dumps(contents()))
    other = read_landmark_folder(Landmarks(root=str(root), ground_truth=str(root / "other.json"), dataset="copy"))
    assert (other.name, other.boxes, other.ground_truth) == ("copy", found.boxes, found.ground_truth)


def test_arrays_of_the_authors_are_read(root):
    arrays = contents()
    arrays["gnd"][0].update(bbx=np.array([1.5, 2, 3, 4]), easy=np.array([0, 2]), junk=np.empty(0))
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(arrays, 2))
    found = read_landmark_folder(Landmarks(root=str(root)))
    assert found.boxes[0] == (1.5, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gnd: gnd.pop("imlist"), "gnd.json' lacks imlist"),
        (lambda gnd: gnd.update(imlist=[1]), "imlist must be a list of names of images"),
        (lambda gnd: gnd.update(qimlist=[]), "qimlist must be a list of names of images, at least one"),
        (lambda gnd: gnd["imlist"].append("no"), "1 of 4 images are missing, the first: '.*/jpg/no.jpg'"),
        (lambda gnd: gnd["imlist"].append("../a"), r"names '../a'; expected names of images in"),
        (lambda gnd: gnd["gnd"].pop(), "gnd must have an entry for each query, 2, got 1"),
        (lambda gnd: gnd.update(gnd=[1, 2]), "gnd must be a sequence of mappings with easy, hard and junk"),
        (lambda gnd: gnd["gnd"][1].pop("junk"), r"gnd\[1\] lacks junk; expected easy, hard and junk"),
        (lambda gnd: gnd["gnd"][1].update(easy=[3]), r"gnd\[1\] names image 3; the gallery has 3"),
        (lambda gnd: gnd["gnd"][1].update(easy=[0.5]), r"gnd\[1\]: easy must be a list of indices into the gallery"),
        (lambda gnd: gnd["gnd"][1].update(easy=["a"]), r"gnd\[1\]: easy must be a list of indices into the gallery"),
        (lambda gnd: gnd["gnd"][1].update(easy=5), r"gnd\[1\]: easy must be a list of indices into the gallery"),
        (lambda gnd: gnd["gnd"][1].update(easy=[1]), r"gnd\[1\] names an image twice"),
        (lambda gnd: gnd["gnd"][0].update(bbx=[1, 2, 3]), r"gnd\[0\]: bbx must be four numbers"),
        (lambda gnd: gnd["gnd"][0].update(bbx=[9, 2, 3, 4]), r"gnd\[0\]: bbx must be left < right and top < bottom"),
        (lambda gnd: gnd["gnd"][0].update(bbx=[1, 2, float("nan"), 4]), r"gnd\[0\]: bbx must be left < right"),
        (lambda gnd: gnd["gnd"][0].pop("bbx"), r"gnd\[0\]: bbx must be four numbers"),
    ],
)
def test_malformed_ground_truth_is_named(root, change, message):
    content = contents()
    change(content)
    (root / "gnd.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=message) as caught:
        read_landmark_folder(Landmarks(root=str(root)))
    assert caught.value.key == "eval.landmarks.root"
    assert len(str(caught.value).splitlines()) == 1


def test_missing_and_ambiguous_files_are_named(root):
    how = Landmarks(root=str(root))
    with pytest.raises(ConfigError, match=r"it has no ground truth; expected one file gnd_\*.pkl or gnd_\*.json"):
        read_landmark_folder(how)
    with pytest.raises(ConfigError, match=r"eval.landmarks.ground_truth='none.pkl': there is no such file"):
        read_landmark_folder(Landmarks(root=str(root), ground_truth="none.pkl"))
    for name in ("gnd_a.pkl", "gnd_b.json"):
        (root / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"it has 2 files \(gnd_a.pkl, gnd_b.json\) as ground truth"):
        read_landmark_folder(how)
    (root / "gnd_b.json").unlink()
    with pytest.raises(ConfigError, match=r"gnd_a.pkl' is not a ground truth of this format"):
        read_landmark_folder(how)
    with pytest.raises(ConfigError, match="there is no folder 'none'"):
        read_landmark_folder(Landmarks(root="none"))
    with pytest.raises(ConfigError, match=r"expected a folder with jpg/ and gnd_\*.pkl"):
        read_landmark_folder(Landmarks())
