"""The backbone of a run as a file that torchvision, timm and we load, and what is refused of a file."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from ssl_core import CheckpointError, ConfigError, RunError, RunFolderError
from ssl_core.backbones import build_backbone
from ssl_core.checkpoint.export import export_backbone, load_exported, read_metadata, write_safetensors
from ssl_core.methods.supervised import Supervised, SupervisedConfig
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trained(make_config):
    """Return a function that trains a classifier for two batches, exports its backbone and returns it and the file."""

    def train(backbone, **options):
        config = make_config(optim__epochs=1, optim__max_steps=2, log__export=True, log__knn_samples=0)
        config.model = SupervisedConfig("supervised", backbone, options)
        loaders = config.data.open

        def with_statistics(*arguments):
            found = loaders(*arguments)
            found.mean, found.std = (0.1, 0.2, 0.3), (1.0, 1.0, 2.0)
            return found

        config.data.open = with_statistics
        model = Supervised(config)
        fit_and_report(model)
        backbone = model.backbone.eval().to(memory_format=torch.contiguous_format)  # as the others', to the bit
        return backbone, RunFolder.of(config).backbone

    return train


def test_torchvision_loads_the_backbone_of_a_run(trained):
    """Oracle: torchvision's model, strict but for what differs by design: the stem for small images, and the classifier."""
    from torchvision.models import resnet18

    ours, path = trained("resnet18")
    theirs = resnet18()
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    theirs.maxpool = theirs.fc = nn.Identity()
    theirs.load_state_dict(load_file(path))
    assert torch.equal(theirs.eval()(IMAGES), ours(IMAGES))
    assert torch.equal(load_exported(path)(IMAGES), ours(IMAGES))
    assert path.stat().st_mode == path.with_name("metrics.jsonl").stat().st_mode  # whoever reads the run reads it too
    metadata = read_metadata(path)
    assert {name: json.loads(metadata[name]) for name in ("backbone_options", "image_shape", "mean", "std", "step")} == {
        "backbone_options": {}, "image_shape": [3, 8, 8], "mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 2.0], "step": 2,
    }  # fmt: skip
    assert (metadata["backbone"], metadata["run"], metadata["format"]) == ("resnet18", "run", "pt")


def test_torchvision_loads_the_backbone_of_large_images_as_it_is(tmp_path):
    """Oracle: torchvision's model, unchanged; only the classifier is missing."""
    from torchvision.models import resnet18

    write_safetensors(
        tmp_path / "backbone.safetensors", build_backbone("resnet18", (3, 96, 96)).state_dict(), {"format": "pt"}
    )
    missing, unexpected = resnet18().load_state_dict(load_file(tmp_path / "backbone.safetensors"), strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])


def test_timm_loads_the_backbone_of_a_run(trained):
    """Oracle: timm's model, strict."""
    timm = pytest.importorskip("timm")
    options = {"depth": 1, "embed_dim": 32, "num_heads": 2, "patch_size": 4}
    ours, path = trained("vit_tiny_patch16_224", **options)
    assert json.loads(read_metadata(path)["backbone_options"]) == options
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=8, **options)
    theirs.load_state_dict(load_file(path))
    assert torch.equal(theirs.eval()(IMAGES), ours(IMAGES))
    assert torch.equal(load_exported(path)(IMAGES), ours(IMAGES))


def test_finished_run_is_exported_and_starts_another(make_config, tmp_path):
    """Weights of a channels_last model are written contiguously."""
    config = make_config(optim__epochs=1, log__knn_samples=0)
    config.model = SupervisedConfig("supervised", "resnet9", {"width": 4})
    model = Supervised(config)
    model.fit()
    folder = RunFolder.of(config)
    assert not folder.backbone.exists()
    assert export_backbone(folder.path, tmp_path / "mine.safetensors") == tmp_path / "mine.safetensors"
    metadata = read_metadata(tmp_path / "mine.safetensors")
    assert (metadata["backbone"], metadata["step"]) == ("resnet9", "4")
    weights = load_file(tmp_path / "mine.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.backbone.state_dict().items())

    config = make_config(
        log__run="second", model__init_from=str(tmp_path / "mine.safetensors"), optim__lr=0.0, optim__epochs=1
    )
    config.model = SupervisedConfig("supervised", "resnet9", {"width": 4}, str(tmp_path / "mine.safetensors"))
    second = Supervised(config)
    second.fit()
    assert torch.equal(second.backbone.stem[0][0].weight, model.backbone.stem[0][0].weight)
    assert RunFolder.of(config).read_summary()["init_from"]["file"] == str(tmp_path / "mine.safetensors")


def test_user_defined_backbone_is_exported_without_name(make_config, tiny_model):
    config = make_config(optim__epochs=1, log__export=True)
    model = tiny_model(config)
    fit_and_report(model)
    path = RunFolder.of(config).backbone
    assert load_file(path).keys() == model.backbone.state_dict().keys()
    assert "backbone" not in read_metadata(path)
    with pytest.raises(ConfigError, match="does not name a registered backbone"):
        load_exported(path)


def test_exported_file_that_cannot_be_used_is_an_error(tmp_path):
    path = tmp_path / "backbone.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")
    with pytest.raises(ConfigError, match="a text file, not weights"):
        load_exported(path)
    tensors = build_backbone("resnet9", (1, 16, 16), width=4).state_dict()
    name = "stem.0.0.weight"
    facts = {"backbone": "resnet9", "backbone_options": '{"width": 4}', "image_shape": "[1, 16, 16]"}
    for changed, message in (
        ({**tensors, name: tensors[name] / 0}, rf"not finite: {name} \("),
        ({key: tensor for key, tensor in tensors.items() if key != name}, "does not fit 'resnet9', which it names"),
    ):
        write_safetensors(path, changed, facts)
        with pytest.raises(ConfigError, match=message):
            load_exported(path)


def test_export_without_backbone_raises_before_training(make_config, tiny_model):
    class Headless(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.encoder = self.backbone
            del self.backbone

    model = Headless(make_config(log__export=True))
    with pytest.raises(ConfigError, match=r"log\.export=true: Headless has no module called backbone"):
        model.fit()
    assert model.progress.step == 0


def test_invalid_run_cannot_be_exported(make_config, tiny_model, tmp_path):
    with pytest.raises(RunFolderError, match=r"has no config\.yaml to read: No such file or directory"):
        export_backbone(tmp_path / "nowhere")
    config = make_config(optim__epochs=1)
    tiny_model(config).fit()
    folder = RunFolder.of(config)
    with pytest.raises(RunError, match=r"cannot be written: .*No such file or directory"):
        export_backbone(folder.path, tmp_path / "no" / "such" / "file")
    told = yaml.safe_load(folder.config.read_text())
    told["model"]["backbone"] = "os.system"
    folder.config.write_text(yaml.safe_dump(told))
    with pytest.raises(ConfigError, match=r"model\.backbone='os\.system': expected one of"):
        export_backbone(folder.path)
    folder.config.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(RunError, match="is not plain YAML"):
        export_backbone(folder.path)
    for path in folder.checkpoints.glob("*.pt"):
        path.write_bytes(b"")
    folder.config.write_text(yaml.safe_dump(told))
    with pytest.raises(CheckpointError, match="there is no intact checkpoint"):
        export_backbone(folder.path)


def test_a_file_names_no_code_and_fetches_nothing(tmp_path):
    pytest.importorskip("timm")
    path = tmp_path / "backbone.safetensors"
    tensors = build_backbone("timm/resnet10t", (3, 32, 32)).state_dict()
    about = {
        "image_shape": "[3, 32, 32]",
        "backbone_options": json.dumps({"pretrained": True, "checkpoint_path": "/x"}),
    }
    write_safetensors(path, tensors, about | {"backbone": "timm/resnet10t"})
    load_exported(path)
    for name in ("os.system", "hf-hub:somebody/model", "timm/local-dir:/tmp"):
        write_safetensors(path, tensors, about | {"backbone": name})
        with pytest.raises(ConfigError, match=rf"model\.backbone='{name}'"):
            load_exported(path)
