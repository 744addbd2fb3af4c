"""Files of text features: formats, and what is invalid in one line."""

import numpy as np
import pytest
import torch

from ssl_core.config.zero_shot import ZeroShot
from ssl_core.errors import ConfigError
from ssl_core.evaluation.other_data.text_features import read_text_features

NAMES = ["cat", "dog", "owl"]
GOOD = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)


def save(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        torch.save(content, path)
    return ZeroShot(text_features=str(path))


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("text.npy", GOOD, False),
        ("text.npy", GOOD.astype(">f4"), False),
        ("text.npz", {"text_features": GOOD}, False),
        ("text.npz", {"text_features": GOOD, "class_names": np.array(NAMES)}, True),
        ("text.pt", torch.from_numpy(GOOD), False),
        ("text.pth", {"text_features": torch.from_numpy(GOOD), "class_names": NAMES}, True),
    ],
)
def test_every_format_has_features_and_names(tmp_path, name, content, named):
    found = read_text_features(save(tmp_path / name, content))
    np.testing.assert_array_equal(found.features.numpy(), GOOD)
    assert found.class_names == (NAMES if named else None)
    assert found.width == 5
    assert len(found.sha256) == 64


class Harmful:
    def __reduce__(self):
        return print, ("harmed",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.pt", Harmful(), "it cannot be read: Weights only load failed"),
        ("text.pt", {"text": [1.0]}, "it has 'text'; expected 'text_features' and optionally 'class_names'"),
        ("text.pt", [[1.0]], "expected a tensor of numbers, got a list"),
        ("text.npy", np.array(["a", "b"]), "expected a tensor of numbers, got an array of <U1"),
        ("text.npy", np.array([Harmful()]), "it cannot be read: Object arrays cannot be loaded"),
        ("text.npy", GOOD[0, 0], r"expected \(K, D\) or \(K, templates, D\) numbers, got shape \(5,\)"),
        ("text.npy", GOOD[:0], r"numbers, got shape \(0, 2, 5\)"),
        (
            "text.npy",
            np.where(np.isin(GOOD, GOOD[1, 1, 0]), np.nan, GOOD),
            "must be finite: 1 of 6 rows hold NaN or infinity",
        ),
        ("text.npy", np.where(np.arange(3)[:, None] == 2, 0, GOOD[:, 0]), "the text features of class 2 are zeros"),
        ("text.npz", {"text_features": GOOD, "class_names": np.arange(3)}, "class_names: expected a list of strings"),
        ("text.npz", {"text_features": GOOD, "class_names": np.array(NAMES[:2])}, "it has 2 class_names and 3 classes"),
    ],
)
def test_invalid_text_features_are_named(tmp_path, capsys, name, content, message):
    how = save(tmp_path / name, content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_text_features(how)
    assert (caught.value.key, caught.value.value) == ("eval.zero_shot.text_features", how.text_features)
    assert len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["text.pt", "text.npy", "text.npz"])
def test_damaged_or_missing_file_is_named(tmp_path, name):
    how = ZeroShot(text_features=str(tmp_path / name))
    with pytest.raises(ConfigError, match="there is no such file"):
        read_text_features(how)
    (tmp_path / name).write_bytes(b"no array")
    with pytest.raises(ConfigError, match="it cannot be read"):
        read_text_features(how)
    with pytest.raises(ConfigError, match=r"expected a file of text features \(.pt, .pth, .npy, .npz\)"):
        read_text_features(ZeroShot(text_features="text.csv"))
