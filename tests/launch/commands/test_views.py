"""``stable-ssl views`` and ``stable-ssl data``, and the same words for the script of a user."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import forked
from ssl_data import DataConfig, describe
from ssl_launch.cli.main import main
from ssl_launch.commands.views import QUICK

SCRIPT = """
import torch
from ssl_core.methods import SimCLR
from ssl_data import DataConfig
from ssl_launch import launch

def shifted(sample, generator):
    return sample.roll(int(torch.randint(100, (), generator=generator)), dims=-1)

data = DataConfig.of(
    train=(torch.arange(48000.0).reshape(12, 1, 40, 100), torch.arange(12) % 2), views=[shifted, shifted], num_workers=0
)
if __name__ == "__main__":
    launch(SimCLR, data=data)
"""


def command(*words, cwd, code=0):
    done = forked.run(words, cwd, merged=True, COLUMNS="80")
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def photographs(tmp_path):
    """``photographs/{train,test}/{cat,dog}``: 8 images, one of them unreadable, and one that is in both parts."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for number in range(4):
            path = tmp_path / "photographs" / part / ("cat", "dog")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20 + number, 24, 3), dtype=np.uint8)).save(path)
    (path.parent / "3.png").write_bytes((tmp_path / "photographs/train/cat/0.png").read_bytes())
    (tmp_path / "photographs" / "test" / "cat" / "2.png").write_bytes(b"damaged")
    return tmp_path


def test_data_prints_the_report(photographs):
    words = ["data.dataset=ImageFolder", "data.root=photographs"]
    said = command("stable-ssl", "data", *words, cwd=photographs, code=1)
    assert "test: 4 images, height 20 to 21 (median 20), width 24, 3 bands of uint8" in said
    assert "unreadable: 1: 'photographs/test/cat/2.png' (cannot identify image file" in said
    assert "samples of test that are also in train: 1: 'photographs/test/dog/3.png' =" in " ".join(said.split())
    (photographs / "photographs" / "test" / "cat" / "2.png").unlink()
    said = command("stable-ssl", "data", *words, "samples=2", cwd=photographs)
    assert "train: 4 images" in said
    assert "2 of them were read" in said
    assert not (photographs / "outputs").exists()  # a report writes nothing


def test_views_draws_and_reports(tmp_path):
    words = ["data.views=dino", "rows=2", "log.folder=pictures"]
    said = command("stable-ssl", "views", "simclr_digits", *words, cwd=tmp_path)
    *report, file = said.splitlines()
    config = DataConfig(views="dino", size=16)
    assert report == str(describe(config, QUICK)).splitlines()
    assert Path(file) == tmp_path / "pictures" / "Views-simclr_digits-views=dino,rows=2.png"
    with Image.open(file) as picture:
        assert picture.width > 10 * 200  # ten views and the stored image


def test_script_of_a_user_shows_its_data(tmp_path):
    (tmp_path / "my_idea.py").write_text(SCRIPT)
    said = command("my_idea.py", "data", cwd=tmp_path)
    assert "train: 12 samples, shape (1, 40, 100) of float32" in said
    said = command("my_idea.py", "views", "rows=3", cwd=tmp_path)
    assert Path(said.splitlines()[-1]) == tmp_path / "outputs" / "Views-SimCLR-simclr_affine_digits-rows=3.png"


WRONG = [
    ("views rowz=3", "rowz: unknown key; did you mean 'rows'?"),
    ("views rows=0", "rows=0: expected an integer, at least 1 and at most 100"),
    ("views rows=many", "rows='many': expected an integer, at least 1 and at most 100"),
    ("views bands=[5]", "bands=[5]: expected one or three numbers from 0 to 0: an image has 1 band"),
    ("views bands=3", "bands=3: expected a list of integers or null, at least 0"),
    ("views simclr_digit", "--config-name=simclr_digit: no such configuration; did you mean 'simclr_digits'?"),
    ("data sampels=3", "sampels: unknown key; did you mean 'samples'?"),
    ("data samples=-1", "samples=-1: expected an integer, at least 0"),
    ("data data.dataset=ImageFolder data.root=nowhere", "data.root='nowhere': there is no such folder"),
    ("data data.dataset=digit", "did you mean 'digits'?"),
    ("daat", "stable-ssl: No such command 'daat'; did you mean 'data'?"),
]


def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for typed, line in WRONG:
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(main(typed.split()))
        shown = capsys.readouterr().err
        assert ended.value.code == 2, typed
        assert line in shown, typed
        assert len(shown.splitlines()) == 1, shown
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match="2"):
        main(["views"])
    assert capsys.readouterr().err == "a picture needs matplotlib: pip install matplotlib\n"
