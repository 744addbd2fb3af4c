"""``eval=landmarks`` on the command line, against the authors' ``compute_map`` of revisited Oxford and Paris in float64."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import forked
from ssl_core import BaseModel

RUNS = Path(__file__).parents[3] / "runs"
SETUPS = {"easy": ("easy", "junk hard"), "medium": ("easy hard", "junk"), "hard": ("hard", "junk easy")}
SIZE = 24


def run(*words):
    return forked.run(words, RUNS)


def compute_map(ranked, positives, removed, ks):
    """Average precision and precision at k of one query as in the authors' evaluate.py; ranks from 0, in float64."""
    pos = [rank for rank, image in enumerate(ranked) if image in positives]
    junk = [rank for rank, image in enumerate(ranked) if image in removed]
    pos = [rank - sum(each < rank for each in junk) for rank in pos]
    ap = 0.0
    for j, rank in enumerate(pos):
        before = 1.0 if rank == 0 else j / rank
        ap += (before + (j + 1) / (rank + 1)) / len(positives) / 2
    cuts = [min(max(pos) + 1, k) for k in ks]
    return [ap, *(sum(rank + 1 <= cut for rank in pos) / cut for cut in cuts)]


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory):
    """Five landmarks, patterns in noise: 30 images, and 5 queries that have the pattern in a box. No query 4 is hard."""
    root = tmp_path_factory.mktemp("data") / "roxford5k"
    (root / "jpg").mkdir(parents=True)
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (5, 8, 8, 3))

    def save(name, pattern, noise, box=None, size=(48, 48)):
        pixels = rng.normal(128, 60, (*size, 3))
        height, width = size if box is None else (box[3] - box[1], box[2] - box[0])
        shown = np.asarray(Image.fromarray(pattern.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
        left, top = (0, 0) if box is None else box[:2]
        pixels[top : top + height, left : left + width] = shown + rng.normal(0, noise, shown.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "jpg" / f"{name}.jpg", quality=95)

    truth = []
    for number, pattern in enumerate(patterns):
        for k in range(6):
            save(f"image_{6 * number + k:02}", pattern, 40 + 25 * k, size=((48, 48), (48, 32), (32, 48))[k % 3])
        box = [10 + number, 12, 58 + number, 60]
        save(f"query_{number}", pattern, 30, box, size=(72, 80))
        first, *others = np.split(np.arange(6 * number, 6 * number + 6), [2, 4])
        parts = {"easy": first, "hard": others[0], "junk": others[1]}
        if number == 4:
            parts["hard"] = np.empty(0)  # as the authors' files have it: float64
        truth.append({"bbx": [each + 0.2 for each in box], **parts})
    names = [f"image_{number:02}" for number in range(30)], [f"query_{number}" for number in range(5)]
    content = {"imlist": names[0], "qimlist": names[1], "gnd": truth}
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content, 2))
    return root, content


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = run(
        "main.py", "--config-name=simclr_digits", "++optim.epochs=0", "++optim.warmup_epochs=0", "model.backbone=resnet9",
        "++model.backbone_options={width: 4}", "++log.report=false", "++hardware.device=cpu", "++data.num_workers=1",
        "++hardware.precision=fp32", f"++log.folder={folder}", "++log.run=mine",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "mine"


def features_by_pillow(trained, root, names, boxes):
    """The features of images that PIL has cropped and reduced, one at a time, ``(N, D) float64``."""
    model = BaseModel.from_run(trained, device="cpu")
    summary = json.loads((trained / "summary.json").read_text())
    rows = []
    for name, box in zip(names, boxes):
        image = Image.open(root / "jpg" / f"{name}.jpg").convert("RGB" if model.image_shape[0] == 3 else "L")
        if box is not None:
            image = image.crop(box)
        image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=None)
        pixels = torch.from_numpy(np.array(image)).float().reshape(image.height, image.width, -1).permute(2, 0, 1) / 255
        shift, scale = (torch.tensor(summary[key])[:, None, None] for key in ("mean", "std"))
        with torch.no_grad():
            rows.append(model.backbone(((pixels - shift) / scale)[None]).flatten(1).double())
    return torch.cat(rows).numpy()


def evaluated(trained, root, *words):
    given = [f"eval.landmarks.root={root}", f"eval.landmarks.size={SIZE}"]
    return run("eval.py", f"run={trained}", "eval=landmarks", *given, *words)


@pytest.mark.slow
def test_landmark_metrics_equal_the_authors(trained, landmarks):
    root, content = landmarks
    done = evaluated(trained, root)
    assert done.returncode == 0, done.stderr
    document = json.loads((trained / "eval" / "landmarks_roxford5k.json").read_text())
    gallery = features_by_pillow(trained, root, content["imlist"], [None] * 30)
    queries = features_by_pillow(trained, root, content["qimlist"], [entry["bbx"] for entry in content["gnd"]])
    gallery, queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (gallery, queries))
    ranked = np.argsort(-queries @ gallery.T, axis=1)
    for setup, (wanted, removed) in SETUPS.items():
        rows = []
        for query, entry in enumerate(content["gnd"]):
            positives, others = (
                {int(each) for name in names.split() for each in entry[name]} for names in (wanted, removed)
            )
            if positives:
                rows.append(compute_map(ranked[query], positives, others, (1, 5, 10)))
        keys = [f"map_{setup}", *(f"mean_precision_{k}_{setup}" for k in (1, 5, 10))]
        assert [document["metrics"][key] for key in keys] == pytest.approx(np.mean(rows, 0).tolist(), abs=1e-9)
        assert document["landmarks"]["queries"][setup] == len(rows)
    assert 0.2 < document["metrics"]["map_medium"] < 1
    assert document["landmarks"]["queries"]["hard"] == 4
    assert "mAP, medium" in done.stdout
    assert "mP@10, hard" in done.stdout

    [kept] = (trained / "eval").glob("features_*.safetensors")
    written = kept.stat().st_mtime_ns
    (root / "gnd_copy.json").write_text(json.dumps(plain(content)))
    again = evaluated(
        trained, root, f"eval.landmarks.ground_truth={root / 'gnd_copy.json'}", "eval.landmarks.dataset=copy"
    )
    (root / "gnd_copy.json").unlink()
    assert again.returncode == 0, again.stderr
    copy = json.loads((trained / "eval" / "landmarks_copy.json").read_text())
    assert copy["metrics"] == document["metrics"]
    assert kept.stat().st_mtime_ns == written
    report = run("stable-ssl", "report", trained)
    assert report.returncode == 0, report.stderr
    assert "mAP, hard" in report.stdout


def plain(content):
    """Return a ground truth without arrays."""
    gnd = [
        {name: [*map(float if name == "bbx" else int, values)] for name, values in entry.items()}
        for entry in content["gnd"]
    ]
    return content | {"gnd": gnd}


class Harmful:
    def __reduce__(self):
        return print, ("harmed",)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda root: shutil.rmtree(root), [], "eval.landmarks.root='{root}': there is no such folder"),
        (lambda root: (root / "jpg" / "query_1.jpg").unlink(), [], "1 of 5 images are missing, the first: '{root}/jpg/query_1"),
        (lambda root: (root / "jpg" / "image_03.jpg").write_bytes(b"text"), [], "'{root}/jpg/image_03.jpg' cannot be read"),
        (
            lambda root: (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(Harmful())), [],
            "is not a ground truth of this format: it names builtins.print",
        ),
        (lambda root: None, ["eval.landmarks.sise=8"], "eval.landmarks.sise: unknown key; did you mean 'eval.landmarks.size'?"),
    ],
)  # fmt: skip
def test_invalid_landmarks_are_one_line(trained, landmarks, tmp_path, change, words, message):
    root = Path(shutil.copytree(landmarks[0], tmp_path / "data"))
    change(root)
    before = set(trained.rglob("*"))
    done = evaluated(trained, root, *words)
    [line] = done.stderr.strip().splitlines()
    assert done.returncode in (1, 2)
    assert message.replace("{root}", str(root)) in line
    assert "harmed" not in done.stdout
    assert set(trained.rglob("*")) - before <= {trained / "eval"}
