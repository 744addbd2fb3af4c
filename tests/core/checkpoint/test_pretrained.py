"""A backbone's weights from elsewhere: all of them or none, by name, and only where a run begins."""

import argparse
import hashlib
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ssl_core import ConfigError, Teacher
from ssl_core.backbones import build_backbone
from ssl_core.checkpoint.pretrained import find_weights, load_backbone
from ssl_core.run.folder import RunFolder

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
def test_run_starts_from_the_backbone_of_another(make_config, tiny_model, source, which):
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
    assert "weights of the classifier are skipped: fc.weight, fc.bias" in caplog.text
    theirs.fc = nn.Identity()
    assert torch.equal(ours.eval()(IMAGES), theirs.eval()(IMAGES))


def test_timms_weights_are_loaded_without_the_classifier(tmp_path):
    """Oracle: timm's own features, from a file as timm's are."""
    timm = pytest.importorskip("timm")

    options = {"depth": 1, "img_size": 64}
    theirs = timm.create_model("vit_tiny_patch16_224", **options).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = build_backbone("vit_tiny_patch16_224", (3, 64, 64), depth=1).eval()
    load_backbone(ours, str(tmp_path / "model.safetensors"))
    images = IMAGES[..., :64, :64]  # whole patches of 16 pixels
    assert torch.equal(ours(images), theirs.forward_head(theirs.forward_features(images), pre_logits=True))


def test_weights_that_do_not_fit_raise_and_load_nothing(tmp_path):
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


def test_stem_for_other_image_sizes_raises(tmp_path):
    torch.save(build_backbone("resnet18", (3, 224, 224)).state_dict(), tmp_path / "large.pth")
    with pytest.raises(ConfigError, match=r"shape: conv1\.weight \(64, 3, 7, 7\), expected \(64, 3, 3, 3\)"):
        load_backbone(build_backbone("resnet18", (3, 32, 32)), str(tmp_path / "large.pth"))


STATE = {
    "0.weight": torch.ones(3, 2),
    "0.bias": torch.full((3,), 2.0),
    "1.weight": torch.ones(1, 3),
    "1.bias": torch.zeros(1),
}


def prefixed(prefix, value=None):
    return {prefix + key: tensor if value is None else torch.full_like(tensor, value) for key, tensor in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        prefixed("module."),  # DistributedDataParallel
        prefixed("_orig_mod."),  # torch.compile
        prefixed("module._orig_mod."),
        {key.replace("0.", "0._orig_mod."): tensor for key, tensor in STATE.items()},  # of one layer
        prefixed("module.backbone.") | {"module.head.weight": torch.ones(2)},
        {"state_dict": STATE, "epoch": 3},
        {"model": prefixed("module."), "optimizer": {"state": {}}, "args": argparse.Namespace(lr=1)},  # MAE
        {"state_dict": prefixed("model.encoder."), "hyper_parameters": {"lr": 1}, "callbacks": {}},  # Lightning
        {
            "student": prefixed("module.backbone.", 5),
            "teacher": prefixed("backbone."),
            "dino_loss": {"center": torch.ones(1)},
        },
        {"state_dict": prefixed("module.encoder_q.") | prefixed("module.encoder_k.", 5)},  # MoCo
        {"encoder": prefixed("module.", 5), "target_encoder": prefixed("module."), "epoch": 1},  # I-JEPA
        {"net": STATE, "epoch": 3},
        prefixed("backbone.") | prefixed("teacher.model.", 5),  # a run of ours, without its digest
    ],
)
def test_wrapped_and_prefixed_weights_are_loaded(tmp_path, content):
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    torch.save(content, tmp_path / "theirs.pth")
    load_backbone(layers, str(tmp_path / "theirs.pth"))
    assert all(torch.equal(tensor, STATE[key]) for key, tensor in layers.state_dict().items())


def test_prefix_and_skipped_tensors_are_logged(tmp_path, caplog):
    torch.save(prefixed("encoder.") | {"head.gain": torch.ones(1)}, tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        load_backbone(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), str(tmp_path / "theirs.pth"))
    assert "names begin with 'encoder.'; 1 other tensors are skipped" in caplog.text


def test_several_modules_that_fit_raise(tmp_path):
    torch.save(prefixed("left.") | prefixed("right."), tmp_path / "theirs.pth")
    with pytest.raises(ConfigError, match=r"several modules fit the backbone: left\., right\.; save the state_dict"):
        load_backbone(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), str(tmp_path / "theirs.pth"))


@pytest.mark.parametrize("which", ["0.weight", "1.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_raise(tmp_path, which, value):
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = layers[0].weight.detach().clone()
    bad = STATE[which].clone()
    bad[0] = value
    torch.save({**STATE, which: bad}, tmp_path / "diverged.pth")
    count, total = len(bad[0].flatten()), bad.numel()
    with pytest.raises(ConfigError, match=rf"not finite, and nothing is loaded: {which} \({count} of {total}\); take"):
        load_backbone(layers, str(tmp_path / "diverged.pth"))
    assert torch.equal(layers[0].weight, before)


def test_message_for_other_weights_is_short(tmp_path):
    torch.save(build_backbone("resnet50", (3, 32, 32)).state_dict(), tmp_path / "resnet50.pth")
    with pytest.raises(ConfigError, match=r"missing: .* and \d+ more; unexpected: .* and \d+ more") as refused:
        load_backbone(build_backbone("resnet9", (3, 32, 32)), str(tmp_path / "resnet50.pth"))
    assert len(str(refused.value)) < 600


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 102530333\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.pth", LFS, r"a text file, not weights; it begins with 'version https://git-lfs.*`git lfs pull`"),
        ("a.safetensors", LFS, "a text file, not weights; it begins with 'version https://git-lfs"),
        ("a.pth", b"\n<!DOCTYPE html><html>404</html>", "a text file, not weights; it begins with '<!DOCTYPE html>"),
        ("a.pth", b'{"message": "Not Found"}', r"a text file, not weights; it begins with '\{\"message"),
        ("a.pth", b"", "a text file, not weights; it begins with ''"),
        ("a.safetensors", b"", "a text file, not weights; it begins with ''"),
        ("a.pth", "torch.save"[:2].encode() + b"\x80\x00\xff", "no state that is safe to load"),
    ],
)
def test_file_without_weights_raises_before_data_is_opened(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^model\.init_from='.*{name}': {name}: {sentence}") as refused:
        load_backbone(nn.Linear(2, 2), str(tmp_path / name))
    assert "weights_only" not in str(refused.value)
    assert "\n" not in str(refused.value)
    if "safe to load" not in sentence:
        with pytest.raises(ConfigError, match=sentence):
            find_weights(str(tmp_path / name))


def test_broken_archives_raise_with_the_reason(tmp_path):
    torch.save(STATE, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:700])
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("arr_0.npy", b"0")
    save_file(STATE, tmp_path / "whole.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-8])
    save_file(STATE, tmp_path / "pytorch_model.bin")  # is read as what it is
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    load_backbone(layers, str(tmp_path / "pytorch_model.bin"))
    for name, sentence in (
        ("half.pth", "truncated: its end is missing; download it again"),
        ("arrays.npz", "no state that is safe to load"),
        ("half.safetensors", "not a complete safetensors file"),
        (
            "module.pth",
            r"it needs the Python object torch\.nn\.modules\.linear\.Linear, .*save the weights alone: torch\.save",
        ),
    ):
        with pytest.raises(ConfigError, match=rf"{name}: .*{sentence}") as refused:
            load_backbone(layers, str(tmp_path / name))
        assert "weights_only" not in str(refused.value)


class Bomb:
    def __reduce__(self):
        return (open, (f"{self.place}/exploded", "w"))


def test_unreadable_weights_raise_and_run_no_code(tmp_path, source):
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
        ("lists.pth", r"lists\.pth: expected a checkpoint of a run, or tensors by name"),
        ("broken.safetensors", r"broken\.safetensors: a text file, not weights; it begins with 'no tensors'"),
        ("empty", "there is no intact checkpoint in"),
        ("nowhere.pth", "no such file or run folder"),
    ):
        with pytest.raises(ConfigError, match=rf"model\.init_from='.*{name}': {sentence}"):
            load_backbone(layer, str(tmp_path / name))
    assert not (tmp_path / "exploded").exists()
    newest(folder).write_bytes(newest(folder).read_bytes()[:-1])
    for path in (folder.path, newest(folder)):
        with pytest.raises(
            ConfigError,
            match=r"model\.init_from='.*step_00000004\.pt: (truncated|no state)",
        ):
            load_backbone(layer, str(path))


def test_method_without_a_backbone_raises(tmp_path):
    with pytest.raises(ConfigError, match="no module called backbone"):
        load_backbone(None, str(tmp_path))
