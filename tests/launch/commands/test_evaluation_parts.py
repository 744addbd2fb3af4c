"""Corruptions, shifted data sets and transfer from the command line, on generated folders of photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked

RUNS = Path(__file__).parents[3] / "runs"
CLASSES = ("n01", "n02", "n03")


def run(*words):
    return forked.run(words, RUNS)


def photographs(folder, classes, images, seed=0):
    """Write images of one colour for each class, in noise, ``(32, 32, 3)``."""
    rng = np.random.default_rng(seed)
    for name, place in classes.items():
        (folder / name).mkdir(parents=True)
        for k in range(images):
            colour = np.eye(3)[place] * 120 + 60
            pixels = np.clip(colour + rng.normal(0, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch on three classes; beside it ``numbered``, with two of them by number, and ``named``, with one more."""
    root = tmp_path_factory.mktemp("root")
    places = dict(zip(CLASSES, range(3)))
    photographs(root / "data" / "train", places, 24)
    photographs(root / "data" / "test", places, 8, seed=1)
    photographs(root / "numbered", {"2": 2, "0": 0}, 6, seed=2)
    photographs(root / "named", {"n03": 2, "n01": 0, "n99": 1}, 6, seed=3)
    made = run(
        "main.py", "++data.dataset=ImageFolder", f"++data.root={root}/data", "++data.size=32", "++data.views=simclr",
        "++optim.epochs=1", "++optim.warmup_epochs=0",
        "++optim.batch_size=24", "++model.backbone_options={width: 4}", "++log.report=false",
        f"++log.folder={root}/runs", "++log.run=mine",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return root / "runs" / "mine"


@pytest.mark.slow
def test_corruptions_shifts_and_transfer_end_with_tables(trained):
    """Colours are recognised without training, and lost in contrast of severity 5 or under fog; the reference is the run."""
    root = trained.parents[1]
    corrupted = ["eval.py", f"run={trained}", "eval=corruptions", "eval.corruptions.names=[pixelate,contrast]"]
    first = run(*corrupted, "eval.corruptions.severities=[1,5]")
    assert first.returncode == 0, first.stderr
    assert "data: linear probe on corrupted images" in first.stdout.replace("imagefolder", "data")
    found = json.loads((trained / "eval" / "corruptions.json").read_text())
    assert found["corruptions"]["errors"]["linear"].keys() == {"pixelate", "contrast"}
    assert found["metrics"]["corruption_error_linear"] >= 1 - found["metrics"]["linear"]

    names = [root / "numbered", root / "named", root / "none"]
    shifted = run("eval.py", f"run={trained}", "eval=shifts", f"eval.shifts.folders=[{','.join(map(str, names))}]")
    assert shifted.returncode == 0, shifted.stderr
    found = json.loads((trained / "eval" / "shifts.json").read_text())
    assert [(each["classes"], each["images"], each["left_out_images"]) for each in found["shifts"].values()] == [
        (2, 12, 0), (2, 12, 6),
    ]  # fmt: skip
    assert found["metrics"]["shift_linear_numbered"] == 1
    assert found["metrics"]["shift_knn_20_named"] == 1
    assert "not computed: shift, none" in " ".join(shifted.stdout.split())

    sets = f"eval.transfer.datasets=[digits,{root}/data,DTD]"
    moved = run("eval.py", f"run={trained}", "eval=transfer", sets, f"eval.transfer.root={root}")
    assert moved.returncode == 0, moved.stderr
    found = json.loads((trained / "eval" / "transfer.json").read_text())
    assert found["transfer"][f"{root}/data"]["value"] == 1
    assert found["transfer"]["digits"]["train_images"] == 1433
    mean = (1 + found["transfer"]["digits"]["value"]) / 2
    assert found["metrics"]["transfer_mean"] == pytest.approx(mean)
    assert "The mean is over 2 of 3 data sets." in moved.stdout
    assert f"skipped: DTD (root='{root}': Dataset not found)" in " ".join(moved.stdout.split())
    report = run("stable-ssl", "report", trained)
    assert report.returncode == 0, report.stderr
    assert "corruption error" in report.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval=corruptions", "eval.corruptions.names=[fgo]"], "eval.corruptions.names='fgo': expected one of"),
        (
            ["eval=corruptions", "eval.corruptions.severities=[0]"],
            "eval.corruptions.severities=[0]: expected a list of integers",
        ),
        (["eval=corruptions", "eval.corruptions.reference=nowhere"], "eval.corruptions.reference: no run 'nowhere'"),
        (["eval=corruptions", "eval.corruptions.severity=1"], "eval.corruptions.severity: unknown key; did you mean"),
        (["eval=shifts"], "eval.shifts.folders=[]: expected one or more folders"),
        (
            ["eval=shifts", "eval.shifts.folders=[nowhere]"],
            "eval.shifts.folders: none of 1 was found; the first: folder='nowhere'",
        ),
        (
            ["eval=transfer", "eval.transfer.datasets=[CIFAR1O]"],
            "eval.transfer.datasets='CIFAR1O': a folder has a slash",
        ),
        (
            ["eval=transfer", "eval.transfer.datasets=[./nowhere]"],
            "eval.transfer.datasets: none of 1 was found; the first: ",
        ),
        (["eval=transfer", "eval.transfer.metrics={DTD: map}"], "eval.transfer.metrics.DTD='map': expected one of"),
    ],
)
def test_invalid_part_is_one_line_and_writes_nothing(trained, arguments, message):
    before = {path for path in trained.rglob("*.json") if "features" not in path.name}
    result = run("eval.py", f"run={trained}", *arguments)
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("skipped")]
    assert result.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith(message)
    assert {path for path in trained.rglob("*.json") if "features" not in path.name} == before
