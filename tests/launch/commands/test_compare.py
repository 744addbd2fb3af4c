"""``stable-ssl compare``: the matrices of a run's checkpoints and blocks, their files, and invalid input in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import forked
from ssl_core import BaseModel
from ssl_core.errors import ConfigError
from ssl_data import DataConfig
from ssl_launch.commands.compare import Compared, compare

RUNS = Path(__file__).parents[3] / "runs"


def run(*words):
    return forked.run(words, RUNS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of one step an epoch on the digits, with both checkpoints of each."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        made = run(
            "main.py", "--config-name=simclr_digits", "++optim.epochs=2", "++optim.max_steps=1", "++log.checkpoint_every=1",
            "++log.report=false", "++model.backbone=vit_tiny", "++model.backbone_options={depth: 2, width: 24}",
            f"++log.folder={folder}",
            f"++hardware.seed={seed}", f"++log.run=seed{seed}", "++log.eval_every=0", "++optim.batch_size=64",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    return folder


def cka(x, y):
    """Kornblith et al. 2019, equation 4, in float64."""
    x, y = (each - each.mean(0) for each in (x, y))
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def test_checkpoints_and_blocks_are_a_matrix(trained):
    """The linear CKA of the last checkpoints' outputs is that of the formula in float64."""
    words = (trained / "seed0", "--checkpoints", "all", "--layers", "2", "--samples", "100")
    result = run("stable-ssl", "compare", *words)
    assert result.returncode == 0, result.stderr
    folder = trained / "seed0" / "compare"
    document = json.loads((folder / "similarity.json").read_text())
    labels = [each["label"] for each in document["representations"]]
    assert labels == ["step 1, block 0", "step 1, block 1", "step 2, block 0", "step 2, block 1"]
    assert document["images"]["count"] == 100
    for measure in ("linear_cka", "mutual_knn", "procrustes"):
        matrix = np.array(document["similarity"][measure])
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1)
        assert np.std(imread(folder / f"{measure}.png")) > 0
    outputs = []
    loader = DataConfig(dataset="digits").open(64, 0).evaluation["digits"]
    images = torch.cat([views[0] for views, _, _ in loader])[torch.linspace(0, 363, 100).round().long()]
    for step in (1, 2):
        backbone = BaseModel.from_run(trained / "seed0", checkpoint=step).backbone
        outputs.append(backbone(images).detach().double().numpy())
    assert document["similarity"]["linear_cka"][1][3] == pytest.approx(cka(*outputs), abs=1e-4)


def test_runs_are_compared_by_a_pattern(trained, tmp_path):
    words = (f"{trained}/seed*", "--measure", "mutual_knn", "--images", "affine_digits", "--out", tmp_path / "x")
    result = run("stable-ssl", "compare", *words)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-3:] == [
        str(tmp_path / "x" / name) for name in ("similarity.json", "mutual_knn.png", "mutual_knn.pdf")
    ]
    document = json.loads((tmp_path / "x" / "similarity.json").read_text())
    assert [each["label"] for each in document["representations"]] == ["seed0", "seed1"]
    assert document["images"]["dataset"] == "affine_digits"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{runs}/seed0"], "there is one representation only; name another run, or several of this run: --checkpoints all"),
        (["{runs}/seed0", "--checkpoints", "7"], "has no such checkpoint; expected newest, all, 1, 2"),
        (["{runs}/seed*", "--layers", "3"], "layers=3: this backbone has fewer layers to compare; expected at most 2"),
        (["{runs}/seed0/checkpoints/step_9.pt"], "no run '{runs}/seed0/checkpoints/step_9.pt'"),
        (["{runs}/seed*", "--measure", "linear"], "'linear' is not one of linear_cka, debiased_cka, mutual_knn, procrustes"),
        (["{runs}/seed*", "--images", "SVNH"], "images='SVNH' is neither a file or folder nor one of"),
        (["{runs}/seed*", "--images", "FakeData"], "images='fakedata': "),
    ],
)  # fmt: skip
def test_invalid_input_is_one_line(trained, words, message, tmp_path):
    result = run("stable-ssl", "compare", *(word.format(runs=trained) for word in words), "--out", tmp_path / "x")
    assert result.returncode in (2, 3, 4)
    assert message.format(runs=trained) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_pattern_without_a_run_is_an_error(tmp_path):
    for name in ("figures", "report"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=r"/\*': no run matches this pattern"):
        compare([f"{tmp_path}/*"], Compared())


def test_file_in_place_of_the_folder_is_one_line(trained, tmp_path):
    (tmp_path / "x").write_text("kept")
    result = run("stable-ssl", "compare", f"{trained}/seed*", "--out", tmp_path / "x")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [f"out={str(tmp_path / 'x')!r}: expected a folder; this is a file"]
    assert (tmp_path / "x").read_text() == "kept"
