"""A backbone's weights from elsewhere: all of them or none, by name, and only where a run begins."""

import hashlib

import pytest
import torch
from torch import nn

from ssl_core import ConfigError, Teacher
from ssl_core.backbones import build_backbone
from ssl_core.run_folder import RunFolder
from ssl_core.warm_start import load_backbone

IMAGES = torch.randn(2, 3, 72, 72, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def source(make_config, tiny_model):
    """Return the configuration of a run of one epoch, and its trained model."""
    model = tiny_model(make_config(log__run="source", optim__epochs=1, hardware__seed=5))
    model.fit()
    return RunFolder.of(model.config), model


def newest(folder):
    return max(folder.checkpoints.glob("*.pt"))


@pytest.mark.parametrize("which", ["folder", "checkpoint"])
def test_a_run_begins_with_the_backbone_of_another(make_config, tiny_model, source, which):
    """The backbone and the teacher's copy of it, not the head; whose weights they are stands in the summary."""
    folder, trained = source

    class Watched(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.teacher = Teacher(self.backbone)
            self.fresh = self.head.weight.detach().clone()

        def before_train_epoch(self):
            if self.progress.step == 0:
                expected = trained.backbone.state_dict()
                for begins in (self.backbone.state_dict(), self.teacher.model.state_dict()):
                    assert all(torch.equal(begins[name], tensor) for name, tensor in expected.items())
                assert torch.equal(self.head.weight, self.fresh)

    path = folder.path if which == "folder" else newest(folder)
    config = make_config(model__init_from=str(path))
    Watched(config).fit()
    said = RunFolder.of(config).read_summary()["init_from"]
    assert said == {
        "file": str(newest(folder)),
        "sha256": hashlib.sha256(newest(folder).read_bytes()).hexdigest(),
    }
    newest(folder).unlink()
    Watched(config).fit()  # it had finished: nothing is read again
    assert RunFolder.of(config).read_summary()["init_from"] == said


def test_torchvisions_weights_are_loaded_without_the_classifier(tmp_path, caplog):
    """Oracle: torchvision's own features."""
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = build_backbone("resnet18", (3, 72, 72))
    with caplog.at_level("INFO"):
        load_backbone(ours, str(tmp_path / "resnet18.pth"))
    assert "the classifier's are left out: fc.weight, fc.bias" in caplog.text
    theirs.fc = nn.Identity()
    assert torch.equal(ours.eval()(IMAGES), theirs.eval()(IMAGES))


def test_timms_weights_are_loaded_without_the_classifier(tmp_path):
    """Oracle: timm's own features, from a file as timm's are."""
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    options = {"depth": 1, "img_size": 72}
    theirs = timm.create_model("vit_tiny_patch16_224", **options).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = build_backbone("vit_tiny_patch16_224", (3, 72, 72), depth=1).eval()
    load_backbone(ours, str(tmp_path / "model.safetensors"))
    assert torch.equal(ours(IMAGES), theirs.forward_head(theirs.forward_features(IMAGES), pre_logits=True))


def test_what_does_not_fit_is_named_key_by_key_and_nothing_is_loaded(tmp_path):
    layer = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    state = {
        "0.weight": torch.ones(3, 5),
        "0.bias": torch.ones(3),
        "1.weight": torch.ones(1, 3),
        "2.bias": torch.ones(1),
    }
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        ConfigError,
        match=r"model\.init_from='.*other\.pth': .* does not fit the backbone of this run, and nothing is loaded; "
        r"missing: 1\.bias; unexpected: 2\.bias; of another shape: 0\.weight \(3, 5\), expected \(3, 2\)$",
    ):
        load_backbone(layer, str(tmp_path / "other.pth"))
    assert all(torch.equal(parameter, was) for parameter, was in zip(layer.parameters(), before))


def test_a_stem_for_other_images_is_refused(tmp_path):
    torch.save(build_backbone("resnet18", (3, 224, 224)).state_dict(), tmp_path / "large.pth")
    with pytest.raises(ConfigError, match=r"shape: conv1\.weight \(64, 3, 7, 7\), expected \(64, 3, 3, 3\)"):
        load_backbone(build_backbone("resnet18", (3, 32, 32)), str(tmp_path / "large.pth"))


class Bomb:
    def __reduce__(self):
        return (open, (f"{self.place}/exploded", "w"))


def test_what_cannot_be_read_is_refused_and_never_run(tmp_path, source):
    folder, _ = source
    layer = nn.Linear(2, 2)
    bomb = Bomb()
    Bomb.place = tmp_path
    torch.save({"weight": bomb}, tmp_path / "bomb.pth")
    torch.save({"weight": [1, 2]}, tmp_path / "lists.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    (tmp_path / "empty").mkdir()
    for name, sentence in (
        ("bomb.pth", r"bomb\.pth: no state that is safe to load"),
        ("lists.pth", r"lists\.pth: expected a checkpoint .* or names and their tensors"),
        ("broken.safetensors", r"broken\.safetensors: no safetensors file"),
        ("empty", "there is no whole checkpoint in"),
        ("nowhere.pth", "there is no such file or run folder"),
    ):
        with pytest.raises(ConfigError, match=rf"model\.init_from='.*{name}': {sentence}"):
            load_backbone(layer, str(tmp_path / name))
    assert not (tmp_path / "exploded").exists()
    newest(folder).write_bytes(newest(folder).read_bytes()[:-1])
    for path in (folder.path, newest(folder)):
        with pytest.raises(
            ConfigError,
            match=r"model\.init_from='.*step_00000004\.pt: its [\d,]+ bytes are not those that were written",
        ):
            load_backbone(layer, str(path))


def test_a_method_without_a_backbone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no module called backbone"):
        load_backbone(None, str(tmp_path))
