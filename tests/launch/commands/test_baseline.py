"""A backbone without a run: judged, found again and reported as every run, and what is said of one that cannot be."""

import json
import os
import urllib.error
from pathlib import Path

import pytest
import torch

import forked
from ssl_core.backbones import build_backbone
from ssl_core.errors import ConfigError
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_eval import Protocol, write_report
from ssl_launch.commands.baseline import make_baseline

RUNS = Path(__file__).parents[3] / "runs"
DIGITS = {"data": {"views": "digits", "size": 16}, "model": {"backbone_options": {"width": 4}}}


@pytest.fixture
def settings(tmp_path):
    return {**DIGITS, "log": {"folder": str(tmp_path)}, "hardware": {"num_threads": 1}}


def test_baseline_command_evaluates_and_report_shows_it(tmp_path):
    """With the weights of a file: the whole path from the command to the report."""
    torch.manual_seed(1)
    torch.save(build_backbone("resnet9", (1, 16, 16), width=4).state_dict(), tmp_path / "fits.pth")
    command = ["eval.py", "backbone=resnet9", "++model.backbone_options={width: 4}", "++data.size=16"]
    command += [
        "++data.views=digits",
        f"weights={tmp_path / 'fits.pth'}",
        f"++log.folder={tmp_path / 'runs'}",
        "++eval.few=[]",
        "++eval.map_samples=0",
        "view_samples=20",
    ]
    result = forked.run(command, RUNS)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("resnet9-fits-")
    document = json.loads((folder / "eval" / "standard.json").read_text())
    assert document["backbone"] == "resnet9"
    assert 0.5 < document["metrics"]["linear"] <= 1
    assert "lidar" in document["metrics"]
    assert json.loads((folder / "summary.json").read_text())["status"] == "baseline"
    (online, offline) = write_report([tmp_path / "runs"], tmp_path / "report").tables
    assert online.rows[0][1] == offline.rows[0][1] == "baseline"
    assert not [name for name in online.columns if "probe" in name]  # which nobody has trained
    assert not list((tmp_path / "report").glob("learning_curves*"))


def test_few_images_are_fewer_than_the_default_batch_size(settings):
    """20 training images; a batch size that was asked for is not changed."""
    settings = {**settings, "data": {**DIGITS["data"], "per_class": 2}}
    run = make_baseline("resnet9", None, settings, [], "cpu")
    assert run.read_config()["optim"]["batch_size"] == 20
    assert make_baseline("resnet9", None, settings, [], "cpu").path == run.path
    (path,) = evaluate_checkpoint(
        run, Protocol("tiny", linear=False, few=[], map_samples=0), device="cpu", view_samples=20
    )
    assert 0 <= json.loads(path.read_text())["metrics"]["knn_20"] <= 1
    settings["optim"] = {"batch_size": 256}
    with pytest.raises(ValueError, match=r"optim\.batch_size=256: larger than the data set, which has 20 samples"):
        make_baseline("resnet9", None, settings, ["++optim.batch_size=256"], "cpu")


def test_baseline_has_given_weights_and_a_folder_per_weights(settings, tmp_path):
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = build_backbone("resnet9", (1, 16, 16), width=4).state_dict()
        save_file(state, weights)
        run = make_baseline("resnet9", str(weights), settings, [], "cpu")
        folders.append(run.path)
        (checkpoint,) = run.checkpoints.glob("*.pt")
        found = torch.load(checkpoint, weights_only=True)["model"]
        assert all(torch.equal(found[f"backbone.{name}"], tensor) for name, tensor in state.items())
        before = checkpoint.stat()
        assert make_baseline("resnet9", str(weights), settings, [], "cpu").path == run.path
        assert checkpoint.stat() == before  # found again
    assert folders[0] != folders[1]
    assert folders[0].name.startswith("resnet9-weights-")


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("resnet19", None, r"^backbone='resnet19': expected one of .* did you mean 'resnet18'"),
        ("resnet9", "nowhere.pth", r"^weights='nowhere.pth': (there is )?no such file"),
        ("resnet9", "DEFAULT", r"^weights='DEFAULT': torchvision publishes no weights for 'resnet9'; expected a file"),
        ("resnet18", "DEFALT", r"^weights='DEFALT': .*did you mean 'DEFAULT'"),
        ("resnet18", "DEFAULT", r"^weights='DEFAULT': https://.*resnet18-f37072fd.pth cannot be downloaded .*a file"),
    ],
)
def test_invalid_baseline_is_one_line_and_writes_nothing(settings, tmp_path, monkeypatch, backbone, weights, message):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    settings = {**settings, "model": {}}
    with pytest.raises(ConfigError, match=message):
        make_baseline(backbone, weights, settings, [], "cpu")
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]


def test_weights_that_do_not_fit_name_the_keys(settings, tmp_path):
    torch.save(build_backbone("resnet9", (1, 16, 16), width=8).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ConfigError, match=r"^weights='.*wide.pth': .*of another shape: .*weight \("):
        make_baseline("resnet9", str(tmp_path / "wide.pth"), settings, [], "cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["wide.pth"]  # no folder of a run that never was


def test_code_in_a_file_of_weights_is_not_run(settings, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ConfigError, match=r"^weights='.*evil.pth'"):
        make_baseline("resnet9", str(tmp_path / "evil.pth"), settings, [], "cpu")
    assert not (tmp_path / "ran").exists()


def test_a_baseline_is_not_trained(settings):
    with pytest.raises(ConfigError, match=r"optim.epochs=3: .*expected 0"):
        make_baseline("resnet9", None, {**settings, "optim": {"epochs": 3}}, [], "cpu")
