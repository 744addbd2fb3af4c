"""The sentences of configuration errors. This snapshot is the only test of their wording; other tests assert on fields.

``error_messages.txt`` has a command line after each ``$`` and below it the line that it prints. After a change of the wording,
write the file again and read its diff::

    UPDATE_ERROR_MESSAGES=1 pytest -n 0 tests/launch/hydra_app/test_error_messages.py
"""

import dataclasses
import os
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ssl_core import BaseModel, ConfigError, ModelConfig
from ssl_core.config import option
from ssl_launch import evaluate, launch
from ssl_launch.hydra_app.build_config import build_config
from ssl_launch.hydra_app.hydra_keys import check_hydra_keys
from ssl_launch.slurm.config import SlurmConf

SNAPSHOT = Path(__file__).with_name("error_messages.txt")
COMMANDS = re.findall(r"^\$ (.+)", SNAPSHOT.read_text(), flags=re.MULTILINE)


@pytest.fixture
def line_of(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command line in an empty folder and returns the one line of its error."""

    def run(command, **options):
        script, *arguments = shlex.split(command)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", "/home/user")
        monkeypatch.setattr("sys.argv", [str(tmp_path / script), *arguments])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as ended:
            (evaluate if script == "eval.py" else launch)(**options)
        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert not (tmp_path / "outputs").exists()
        return line.replace(str(tmp_path), "/here")

    return run


def test_sentences_equal_the_snapshot(line_of):
    lines = [f"$ {command}\n{line_of(command)}\n" for command in COMMANDS]
    if os.environ.get("UPDATE_ERROR_MESSAGES"):
        SNAPSHOT.write_text("\n".join(lines))
    assert "\n".join(lines) == SNAPSHOT.read_text()
    assert max(map(len, lines)) < 1500


def test_configuration_next_to_the_script_is_suggested(monkeypatch, line_of, tmp_path):
    """In a folder with a space in its name."""
    folder = tmp_path / "my project" / "configs"
    folder.mkdir(parents=True)
    (folder / "other.yaml").write_text("optim: {lr: 0.1}\n")
    assert "did you mean 'other'?" in line_of("'my project/main.py' --config-name=othr")


@dataclasses.dataclass
class AveragingConfig(ModelConfig):
    ema: float = option(0.9, low=0.0, high=1.0)


class Averaging(BaseModel):
    config_class = AveragingConfig


def test_key_of_a_user_defined_method_is_suggested(line_of):
    assert "did you mean 'model.ema'" in line_of("main.py model.emma=0.5", method=Averaging)
    assert "did you mean 'model.ema=0.5'" in line_of("main.py --ema 0.5", method=Averaging)


def test_evaluation_settings_are_not_trained():
    with pytest.raises(ConfigError) as caught:
        build_config({"eval": {"draws": 3}}, [])
    assert caught.value.key == "eval"


@pytest.mark.parametrize("key", ["srun_args", "partition", "qos"])
def test_keys_of_submitit_are_known_for_slurm(key):
    """Those of its executor too, which the dataclass of Hydra's plugin does not have."""
    config = OmegaConf.create({"hydra": {"launcher": OmegaConf.structured(SlurmConf)}})
    OmegaConf.set_struct(config.hydra.launcher, False)
    config.hydra.launcher[key] = "x"
    check_hydra_keys(config)
    config.hydra.launcher["srun_argz"] = "x"
    with pytest.raises(ConfigError) as caught:
        check_hydra_keys(config)
    assert (caught.value.key, caught.value.reason) == ("hydra.launcher.srun_argz", "unknown key")
