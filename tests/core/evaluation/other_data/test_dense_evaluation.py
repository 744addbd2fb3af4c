"""Dense evaluation of a checkpoint: segmentation and depth on generated images with masks."""

import json
import struct

import pytest
import torch
from torch import nn

from ssl_core import BaseModel, RunFolder
from ssl_core.backbones.vit import VisionTransformer
from ssl_core.config.dense import DenseEvaluation
from ssl_core.errors import ConfigError
from ssl_core.evaluation.other_data import dense
from ssl_core.evaluation.other_data.dense import evaluate_dense
from ssl_eval import EvaluationRecord, segmentation_probe, write_report

SHAPES = {"root": "shapes", "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "pictures": 3}


class Shapes:
    """Rectangles of three colours, the classes, on grey noise; the depth of a pixel is its class plus one."""

    name = "coloured shapes"

    def __init__(self, depth=False):
        self.depth, self.asked = depth, []

    def batches(self, part, size, channels, batch_size, mean, std):
        self.asked.append((part, size, channels, mean, std))
        generator = torch.Generator().manual_seed(len(part))
        for _ in range(4 if part == "train" else 2):
            images = 0.4 + 0.1 * torch.rand(5, 3, *size, generator=generator)
            masks = torch.zeros(5, *size, dtype=torch.int16)
            for image, mask in zip(images, masks):
                label = int(torch.randint(3, (), generator=generator))
                y, x = torch.randint(2, 16, (2,), generator=generator).tolist()
                mask[y - 1 : y + 15, x - 1 : x + 15] = 255
                image[:, y : y + 14, x : x + 14] = torch.eye(3)[label][:, None, None]
                mask[y : y + 14, x : x + 14] = label + 1
            targets = torch.where(masks == 255, 0, masks + 1).float() if self.depth else masks
            yield (images - mean[0]) / std[0], targets

    def facts(self):
        return {"train_images": 20, "test_images": 10}


class TinyViT(BaseModel):
    def initialize_modules(self):
        self.backbone = VisionTransformer(self.image_shape, patch_size=4, width=16, depth=2, num_heads=2)
        self.head = nn.Linear(16, self.num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        return nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])


@pytest.fixture
def run(tmp_path, make_config):
    TinyViT(make_config(optim__epochs=1)).fit()
    return RunFolder(tmp_path / "run")


def evaluate(run, toy_data, data=None, **options):
    how = DenseEvaluation(**{**SHAPES, **options})
    return evaluate_dense(run, how, data or Shapes(how.targets == "depth"), method=TinyViT, run_data=toy_data)


def test_segmentation_is_that_of_the_patch_tokens(run, toy_data):
    data = Shapes()
    path = evaluate(run, toy_data, data)
    assert path.name == "segmentation_coloured_shapes.json"
    document = json.loads(path.read_text())
    assert document["metrics"].keys() == {
        "mean_iou_linear", "pixel_accuracy_linear", "mean_iou_knn", "pixel_accuracy_knn",
    }  # fmt: skip
    assert document["metrics"]["mean_iou_linear"] > 0.5
    assert document["data"] == {"train_images": 20, "test_images": 10, "size": [32, 32], "grid": [8, 8]}
    assert [asked[0] for asked in data.asked] == ["train", "test"]
    assert data.asked[0][1:] == ((32, 32), 3, [0.5] * 3, [0.25] * 3)
    model = TinyViT.from_run(run.path, data=toy_data)
    parts = []
    for part in ("train", "test"):
        batches = list(data.batches(part, (32, 32), 3, 5, [0.5], [0.25]))
        with torch.no_grad():  # the patches, after the class token
            parts.append(torch.cat([model.backbone.tokens(images)[:, 1:] for images, _ in batches]).half())
        parts.append(torch.cat([masks for _, masks in batches]))
    expected = segmentation_probe(*parts)
    assert document["metrics"]["mean_iou_linear"] == pytest.approx(expected.mean_iou, abs=0.01)
    assert document["chosen"]["lr"] == expected.lr
    assert document["per_class_iou"]["linear"] == pytest.approx(expected.per_class.tolist(), abs=0.02)


def test_picture_and_summary_and_report_have_the_result(run, toy_data, tmp_path):
    pytest.importorskip("matplotlib")
    path = evaluate(run, toy_data, knn=False)
    document = json.loads(path.read_text())
    picture = (run.path / document["pictures"]["maps"]).read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    assert picture.startswith(b"\x89PNG")
    assert width > 300
    assert height > 300
    noted = run.read_summary()["evaluations"]["segmentation_coloured_shapes"]
    assert noted["mean_iou_linear"] == document["metrics"]["mean_iou_linear"]
    EvaluationRecord(path).check()
    report = write_report([run.path], tmp_path / "report")
    table = next(each for each in report.tables if "segmentation" in each.title)
    assert "mIoU, linear" in table.columns


def test_picture_that_fails_costs_no_evaluation(run, toy_data, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(dense, "pixel_map_figure", fail)
    document = json.loads(evaluate(run, toy_data, knn=False).read_text())
    assert document["omitted"] == {"maps": "out of memory"}
    assert "pictures" not in document
    assert "mean_iou_linear" in document["metrics"]
    assert not list(run.evaluations.glob("*.png"))


def test_picture_shows_images_without_normalisation(run, toy_data, monkeypatch):
    seen = {}
    monkeypatch.setattr(dense, "pixel_map_figure", lambda images, **maps: seen.update(images=images, **maps))
    evaluate(run, toy_data, knn=False)
    normalised, masks = next(Shapes().batches("test", (32, 32), 3, 5, [0.5], [0.25]))
    torch.testing.assert_close(seen["images"], 0.5 + 0.25 * normalised[:3])
    assert torch.equal(seen["classes"]["mask"].long(), masks[:3].long())
    assert seen["clusters"]["k-means"].shape == (3, 8, 8)


def test_depth_has_errors_in_its_unit(run, toy_data):
    path = evaluate(run, toy_data, targets="depth", dataset="rooms")
    document = json.loads(path.read_text())
    assert path.name == "segmentation_rooms.json"
    assert document["metrics"].keys() == {"rmse_linear", "abs_rel_linear", "delta1_linear"}
    assert 0 < document["metrics"]["rmse_linear"] < 0.9  # the deviation of the depth is 0.9


def test_earlier_checkpoint_keeps_its_name_and_picture(run, toy_data):
    pytest.importorskip("matplotlib")
    first = json.loads(evaluate(run, toy_data, knn=False).read_text())
    newest = next(run.checkpoints.glob("step_*.pt"))
    state = torch.load(newest, weights_only=True)
    state["progress"]["step"] += 5
    torch.save(state, newest.with_name(f"step_{state['progress']['step']:08d}.pt"))
    second = json.loads(evaluate(run, toy_data, knn=False).read_text())
    assert second["step"] == first["step"] + 5
    kept = run.evaluations / f"segmentation_coloured_shapes_step_{first['step']}.json"
    earlier = json.loads(kept.read_text())
    assert earlier["metrics"] == first["metrics"]
    assert earlier["pictures"] != second["pictures"] == first["pictures"]
    assert (run.path / earlier["pictures"]["maps"]).exists()
    how = DenseEvaluation(**SHAPES, knn=False)
    again = evaluate_dense(run, how, Shapes(), newest, method=TinyViT, run_data=toy_data)
    assert again == kept


def test_unsuitable_runs_and_options_are_one_line(run, toy_data, tmp_path, make_config, tiny_model):
    with pytest.raises(ConfigError, match=r"eval.dense.root=None: expected the folder"):
        evaluate(run, toy_data, root=None)
    with pytest.raises(ConfigError, match=r"has not recorded the mean of its images"):
        evaluate(run, toy_data, mean=None)
    with pytest.raises(ConfigError, match=r"eval.dense.std=\[0.5, 0.5\]: expected 3 numbers, one for each channel"):
        evaluate(run, toy_data, std=[0.5, 0.5])
    with pytest.raises(ConfigError, match=r"eval.dense.size=30: expected a multiple of the patch size, 4"):
        evaluate(run, toy_data, size=30)
    with pytest.raises(ConfigError, match=r"eval.dense.linear=false: expected true"):
        evaluate(run, toy_data, targets="depth", linear=False)
    config = make_config(optim__epochs=1, log__run="plain")
    tiny_model(config).fit()
    other = RunFolder(config.log.folder + "/plain")
    with pytest.raises(ConfigError, match="has no feature map; expected a vision transformer or a ResNet"):
        evaluate_dense(other, DenseEvaluation(**SHAPES), Shapes(), method=tiny_model, run_data=toy_data)
    assert not list(run.path.glob("eval/*"))
