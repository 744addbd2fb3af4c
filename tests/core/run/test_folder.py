import pytest
import yaml

from ssl_core.diagnostics.replay import replay
from ssl_core.errors import ConfigError, RunFolderError
from ssl_core.run.folder import RunFolder, config_diff, plain_config, resume_overridable_keys
from ssl_core.run.load_config import read_config


def test_saved_config_is_plain_and_complete(make_config):
    config = make_config(model__backbone_options={"width": 8})
    plain = plain_config(config)
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert plain["model"]["backbone_options"] == {"width": 8}
    assert set(plain) == {"data", "model", "optim", "hardware", "log"}


def test_same_config_may_use_its_folder_again(make_config, tmp_path):
    config = make_config()
    folder = RunFolder.of(config)
    folder.create(plain_config(config))
    folder.metrics.write_text('{"step": 1, "epoch": 0}\n')
    folder.check_same_config(plain_config(config), resume_overridable_keys(config))


def test_other_config_raises_with_the_difference(make_config):
    config = make_config()
    folder = RunFolder.of(config)
    folder.create(plain_config(config))
    folder.metrics.write_text('{"step": 1, "epoch": 0}\n')
    other = make_config(optim__lr=0.5)
    with pytest.raises(RunFolderError, match=r"optim.lr was 0.1, is 0.5.*log.run=NAME"):
        folder.check_same_config(plain_config(other), resume_overridable_keys(other))


def test_resume_overridable_keys_may_differ(make_config):
    config, other = make_config(), make_config(hardware__num_threads=2, log__wandb="offline", log__level="debug")
    assert config_diff(plain_config(config), plain_config(other), resume_overridable_keys(config)) == []


def test_folder_of_run_that_never_started_may_be_reused(make_config):
    config = make_config()
    folder = RunFolder.of(config)
    folder.create(plain_config(config))
    folder.check_same_config(plain_config(make_config(optim__lr=0.5)), resume_overridable_keys(config))


def test_folder_with_other_files_raises(make_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    config = make_config()
    with pytest.raises(RunFolderError, match=r"is not empty and has no config.yaml"):
        RunFolder.of(config).check_same_config(plain_config(config), resume_overridable_keys(config))


def test_folder_of_killed_start_may_be_reused(make_config, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".config.yaml.tmp").write_text("half of it")
    config = make_config()
    RunFolder.of(config).check_same_config(plain_config(config), resume_overridable_keys(config))
    (tmp_path / "run" / "checkpoints" / "step_00000001.pt").touch()  # a run whose config.yaml is gone
    with pytest.raises(RunFolderError, match=r"has no config\.yaml"):
        RunFolder.of(config).check_same_config(plain_config(config), resume_overridable_keys(config))


def test_unwritable_folder_raises(make_config, tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    config = make_config()
    with pytest.raises(RunFolderError, match=r"log.folder.*cannot be written"):
        RunFolder.of(config).create(plain_config(config))


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch MARKER']", "!!python/name:os.system", "!!python/module:antigravity"],
)
def test_config_with_yaml_tag_raises_for_every_reader(make_config, tiny_model, toy_data, tag):
    config = make_config(optim__epochs=1)
    tiny_model(config).fit()
    folder = RunFolder.of(config)
    marker = folder.path / "executed"
    folder.config.write_text(f"{folder.config.read_text()}x: {tag.replace('MARKER', str(marker))}\n")
    for read in (tiny_model(config).fit, lambda: replay(tiny_model, folder.path, 1, toy_data)):
        with pytest.raises(RunFolderError, match=r"config.yaml' is not plain YAML: could not determine a constructor"):
            read()
    assert not marker.exists()


def test_config_is_loaded_with_the_same_validation(make_config, tiny_model, toy_data, tmp_path):
    config = make_config(optim__lr=0.25, model__backbone_options={"zero_init_residual": False}, optim__max_steps=0.5)
    folder = RunFolder.of(config)
    folder.create(plain_config(config))
    kind, found = read_config(folder, tiny_model, toy_data)
    assert kind is tiny_model
    assert found == config
    plain = plain_config(config)
    for group, key, value, sentence in (
        ("optim", "lrr", 1, r"config.yaml: optim.lrr: unknown key; did you mean 'optim.lr'"),
        ("optim", "lr", "fast", r"optim.lr='fast': expected a number, at least 0"),
        ("model", "_target_", "os.system", r"model._target_: unknown key"),
        ("data", "views", "many", r"data.views='many': expected an integer"),
    ):
        folder.create({**plain, group: {**plain[group], key: value}})
        with pytest.raises(ConfigError, match=sentence):
            read_config(folder, tiny_model, toy_data)
    folder.config.write_text("just words")
    with pytest.raises(RunFolderError, match="contains a str: expected groups of keys"):
        read_config(folder, tiny_model, toy_data)
