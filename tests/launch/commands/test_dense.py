"""``eval=segmentation`` and ``eval=depth`` on the command line, on generated folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked

RUNS = Path(__file__).parents[3] / "runs"
VIT = (
    "backbone=vit_tiny", "++model.backbone_options={patch_size: 4, width: 24, depth: 1, num_heads: 2}", "++data.size=16",
    "++data.num_workers=1", "device=cpu",
)  # fmt: skip


def run(*words):
    return forked.run(words, RUNS)


def write_shapes(root, targets, images=12):
    """Squares and discs on grey noise; the mask has their class, the depth map 1 or 2 metres in millimetres."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :24]
    for folder in ("images", targets):
        (root / folder).mkdir(parents=True)
    for number in range(images):
        image, mask = generator.integers(60, 90, (24, 24, 3)).astype(np.uint8), np.zeros((24, 24), np.uint8)
        y, x = generator.integers(6, 18, 2)
        square = (abs(rows - y) < 6) & (abs(columns - x) < 6)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 40
        inside = (square, disc)[number % 2]
        image[inside], mask[inside] = (240, 150)[number % 2], number % 2 + 1
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        values = mask if targets == "masks" else (1000 * mask.astype(np.uint16) + 500)
        Image.fromarray(values).save(root / targets / f"{number}.png")


@pytest.mark.slow
def test_segmentation_of_a_folder_is_evaluated(tmp_path):
    write_shapes(tmp_path / "shapes", "masks")
    words = [*VIT, "eval=segmentation", f"eval.dense.root={tmp_path / 'shapes'}", f"++log.folder={tmp_path}"]
    done = run("eval.py", *words, "++log.run=vit")
    assert done.returncode == 0, done.stderr
    assert "mIoU, linear" in done.stdout
    assert "shapes: segmentation protocol" in done.stdout
    document = json.loads((tmp_path / "vit/eval/segmentation_shapes.json").read_text())
    assert (document["data"]["train_images"], document["data"]["test_images"]) == (10, 2)
    assert document["metrics"]["pixel_accuracy_linear"] > 0.7
    assert document["settings"]["targets"] == "masks"
    assert not (tmp_path / "vit/eval/segmentation.json").exists()  # nothing of the run's own data
    assert not list((tmp_path / "vit/eval").glob("features_*"))


@pytest.mark.slow
def test_depth_of_a_folder_is_evaluated(tmp_path):
    write_shapes(tmp_path / "rooms", "depth")
    words = [*VIT, "eval=depth", f"eval.dense.root={tmp_path / 'rooms'}", f"++log.folder={tmp_path}"]
    done = run("eval.py", *words, "++log.run=vit")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "vit/eval/depth_rooms.json").read_text())
    assert 0 < document["metrics"]["rmse_linear"] < 1  # metres, of depths from 0.5 to 2.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval=segmentation"], "eval.dense.root=None: expected the folder of the images and their maps"),
        (["eval=depth", "eval.dense.targets=boxes", "eval.dense.root=x"], "eval.dense.targets='boxes'"),
        (["eval=segmentation", "eval.dense.rot=x"], "did you mean 'eval.dense.root'?"),
    ],
)
def test_invalid_dense_options_are_one_line(tmp_path, words, message):
    done = run("eval.py", *VIT, *words, f"++log.folder={tmp_path}", "++log.run=vit")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "vit").exists()


def test_missing_folder_is_one_line(tmp_path):
    done = run("eval.py", *VIT, "eval=segmentation", f"eval.dense.root={tmp_path / 'no'}", f"++log.folder={tmp_path}")
    assert done.returncode == 2
    assert "eval.dense.root=" in done.stderr
    assert "there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr
