"""Pictures of an evaluation: which there are, of which images, and that a missing one costs nothing."""

import json
import sys

import pytest
import torch

from ssl_core import BaseModel, RunFolder
from ssl_core.backbones.vit import VisionTransformer
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.pictures import draw
from ssl_core.evaluation.pictures.display import Display
from ssl_core.evaluation.pictures.images_by_row import images_by_row
from ssl_core.methods.mae import MAE, MAEConfig
from ssl_eval import Protocol

QUICK = Protocol(knn=[], few=[], label_free=False, map_samples=0, pictures=4)


@pytest.fixture
def run(make_config, tmp_path):
    """A run of MAE with a small ViT."""
    config = make_config(optim__epochs=1, log__eval_every=0)
    vit = {"patch_size": 2, "width": 12, "depth": 1, "num_heads": 3}
    decoder = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    config.data.views = 1
    config.model = MAEConfig(name="mae", backbone="vit_tiny", backbone_options=vit, **decoder)
    MAE(config).fit()
    return RunFolder(tmp_path / "run")


def test_pictures_are_written_next_to_the_evaluation(run, toy_data):
    (path,) = evaluate_checkpoint(run, QUICK, data=toy_data, view_samples=0)
    document = json.loads(path.read_text())
    assert set(document["pictures"]) == {"neighbours", "mistakes", "attention", "token_colors", "reconstruction"}
    for picture, file in document["pictures"].items():
        assert file == f"eval/standard_{picture}.png"
        assert (run.path / file).read_bytes().startswith(b"\x89PNG")
    assert "omitted" not in document


def test_pictures_show_the_images_of_their_rows(run, toy_data, monkeypatch):
    """What the figure of neighbours is given: the images that the evaluation names, with their normalisation undone."""
    seen = {}
    monkeypatch.setattr(draw, "neighbours_figure", lambda *given: seen.update(given=given))
    (path,) = evaluate_checkpoint(run, QUICK, data=toy_data, view_samples=0)
    found = json.loads(path.read_text())["neighbours"]
    loaders = toy_data().open(16, 0)
    queries, neighbours, query_labels, neighbour_labels, _ = seen["given"]
    test, train = loaders.evaluation["toy"], loaders.reference
    display = Display.of(test.images[found["queries"]])
    torch.testing.assert_close(queries, display(test.images[found["queries"]]))
    torch.testing.assert_close(neighbours, display(train.images[torch.tensor(found["rows"])]))
    assert query_labels.tolist() == test.labels[found["queries"]].tolist()
    assert neighbour_labels.tolist() == train.labels[torch.tensor(found["rows"])].tolist()


def test_second_evaluation_set_has_the_same_pictures(run, toy_data, monkeypatch):
    """Of the same images: also the random mask of the reconstruction, although the model is opened once."""

    class Twice(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            loaders.evaluation["again"] = loaders.evaluation["toy"]
            return loaders

    paths = evaluate_checkpoint(run, QUICK, data=Twice, view_samples=0)
    first, second = (json.loads(path.read_text())["pictures"] for path in paths)
    assert first.keys() == second.keys() >= {"attention", "reconstruction"}
    for picture, file in first.items():
        assert (run.path / file).read_bytes() == (run.path / second[picture]).read_bytes()


def test_protocol_without_pictures_writes_none(run, toy_data):
    protocol = Protocol(knn=[], few=[], label_free=False, map_samples=0, pictures=0)
    (path,) = evaluate_checkpoint(run, protocol, data=toy_data, view_samples=0)
    assert "pictures" not in json.loads(path.read_text())
    assert not list(run.evaluations.glob("*.png"))


def test_missing_matplotlib_costs_no_evaluation(run, toy_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (path,) = evaluate_checkpoint(run, QUICK, data=toy_data, view_samples=0)
    document = json.loads(path.read_text())
    assert "pictures" not in document
    assert document["omitted"]["attention"].startswith("a figure needs matplotlib: pip install matplotlib")
    assert "linear" in document["metrics"]


def test_failing_picture_is_named_and_the_others_are_drawn(run, toy_data, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(draw, "class_attention", fail)
    (path,) = evaluate_checkpoint(run, QUICK, data=toy_data, view_samples=0)
    document = json.loads(path.read_text())
    assert document["omitted"] == {"attention": "out of memory"}
    assert {"neighbours", "reconstruction"} <= document["pictures"].keys()


@pytest.mark.parametrize("subset", [True, False])
def test_rows_are_labelled_images_in_the_order_of_ids(toy_data, subset):
    loader = toy_data().open(8, 0).evaluation["toy"]
    loader.labels = loader.labels.clone()
    loader.labels[::3] = -1
    if subset:
        loader.subset = lambda positions: [
            (loader.images[positions], loader.labels[positions], torch.as_tensor(positions))
        ]
    known = (loader.labels >= 0).nonzero()[:, 0]
    found = images_by_row(loader, [5, 0, 5])
    assert found.ids.tolist() == known[[5, 0, 5]].tolist()
    assert torch.equal(found.images, loader.images[known[[5, 0, 5]]])
    assert torch.equal(found.labels, loader.labels[known[[5, 0, 5]]])


def test_rows_of_a_shuffled_loader_are_in_the_order_of_the_ids():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 3, 4, 4, generator=generator)
    labels = torch.arange(12) % 4 - 1  # every fourth has none
    shuffled = torch.randperm(12, generator=generator)
    loader = [([images[ids]], labels[ids], ids) for ids in shuffled.split(5)]
    known = (labels >= 0).nonzero()[:, 0]
    found = images_by_row(loader, [7, 0, 3, 7])
    assert found.ids.tolist() == known[[7, 0, 3, 7]].tolist()
    assert torch.equal(found.images, images[found.ids])
    assert torch.equal(found.labels, labels[found.ids])


def test_display_undoes_the_normalisation():
    pixels = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.4)
    normalised = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(Display.of(normalised, mean, std)(normalised), pixels)
    for bands, shown in ((1, 1), (2, 1), (5, 3)):
        assert Display.of(torch.randn(4, bands, 6, 6))(torch.randn(2, bands, 6, 6)).shape == (2, shown, 6, 6)
    sensor = 0.01 * torch.rand(4, 1, 6, 6)  # 16 bits that are hardly used
    assert float(Display.of(sensor)(sensor).max()) == 1.0


class Plain(BaseModel):
    """A ViT without a reconstruction."""

    def initialize_modules(self):
        self.backbone = VisionTransformer(self.image_shape, patch_size=4, width=16, depth=1, num_heads=2)
        self.head = torch.nn.Linear(16, self.num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        return torch.nn.functional.cross_entropy(self.forward(self.data.views[0]), self.data.labels)


def test_unlabelled_images_have_pictures_of_the_model(make_config, toy_data, tmp_path):
    class Unlabelled(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            for loader in (loaders.reference, loaders.evaluation["toy"]):
                loader.labels = torch.full_like(loader.labels, -1)
            return loaders

    Plain(make_config(optim__epochs=1, log__eval_every=0)).fit()
    (path,) = evaluate_checkpoint(RunFolder(tmp_path / "run"), QUICK, method=Plain, data=Unlabelled, view_samples=0)
    document = json.loads(path.read_text())
    assert set(document["pictures"]) == {"attention"}  # the feature map is 2 by 2
    assert document["omitted"]["neighbours"] == "no training image has a label"
