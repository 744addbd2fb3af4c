"""One line for each mistake on the command line: what is wrong, and the line that works. In this process."""

import re

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ssl_core import BaseModel, ConfigError, ModelConfig
from ssl_core.config import option
from ssl_launch import launch
from ssl_launch.hydra_app.arguments import check_arguments
from ssl_launch.hydra_app.build_config import build_config
from ssl_launch.hydra_app.hydra_keys import check_hydra_keys
from ssl_launch.slurm.config import SlurmConf


@pytest.fixture
def answer(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command line in an empty folder, and returns the one line of its error."""

    def run(*arguments, method=None):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", [str(tmp_path / "main.py"), *arguments])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as ended:
            launch(method)
        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert not (tmp_path / "outputs").exists()
        return line

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["++log.run=" + "a" * 300], "log.run='aaaa"),
        (["++log.run=.."], "log.run='..': expected the name of a folder in log.folder"),
        (["++log.run='a '"], "log.run='a ': expected the name of a folder"),
        (["++log.run=20261128"], """'++log.run="20261128"'"""),
        (["++log.run=größe"], """'++log.run="größe"'"""),
        (["++log.folder=~/x"], "write ++log.folder="),
        (["++model.init_from=epoch=1-step=2.ckpt"], """'++model.init_from="epoch=1-step=2.ckpt"'"""),
        (["++model.backbone=resnet18", "++model.backbone_options={}"], "~model.backbone_options"),
        (["++hydra.lancher.timeout_min=3"], "did you mean 'hydra.launcher"),
        (["++hydra.job.nam=x"], "hydra.job.nam: unknown key; did you mean 'hydra.job.name"),
        (["--lr", "0.1"], "++optim.lr=0.1"),
        (["--epochs=3"], "++optim.epochs=3"),
        (["--experimental-rerun", "/nope.pickle"], "--experimental-rerun: unknown option"),
        (["++optim.optimizer=adamw"], "did you mean 'AdamW'?"),
        (["++hardware.device=gpu"], "did you mean 'cuda'?"),
        (["++model.name=SimCLR"], "did you mean 'simclr'?"),
        (["++data.dataset=cifar10"], "did you mean 'CIFAR10'?"),
        (["++optim.lr=choice(0.1,0.2),0.3"], "choice(0.1,0.2,0.3)"),
        (["--config-name=evaluation"], "eval"),
        (["--config-name=evaluatio"], "no such configuration"),
    ],
)
def test_error_names_the_cause_and_the_way_out(answer, arguments, expected):
    line = answer(*arguments)
    assert expected in line
    assert len(line) < 1500


def test_unknown_configuration_does_not_suggest_an_evaluation(answer):
    assert "'evaluation'" not in answer("--config-name=evaluatio")


def test_configurations_beside_a_script_are_suggested(monkeypatch, capsys, tmp_path):
    """In a folder with a space in its name."""
    folder = tmp_path / "my project" / "configs"
    folder.mkdir(parents=True)
    (folder / "other.yaml").write_text("optim: {lr: 0.1}\n")
    monkeypatch.setattr("sys.argv", [str(folder.parent / "main.py"), "--config-name=othr"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        launch()
    assert "did you mean 'other'?" in capsys.readouterr().err


class Averaging(BaseModel):
    """A method with a key of its own."""

    import dataclasses

    @dataclasses.dataclass
    class Keys(ModelConfig):
        ema: float = option(0.9, low=0.0, high=1.0)

    config_class = Keys


def test_key_of_a_user_defined_method_is_known(answer):
    line = answer("model.ema=0.5", method=Averaging)
    assert line == "model.ema: the configuration file does not have this key; write ++model.ema=VALUE"
    assert "did you mean 'model.ema'" in answer("++model.emma=0.5", method=Averaging)


def test_evaluation_settings_are_not_trained():
    with pytest.raises(ConfigError, match=r"^eval: this group configures an evaluation"):
        build_config({"eval": {"draws": 3}}, [])


def test_options_of_hydra_are_not_abbreviated():
    with pytest.raises(ConfigError, match=re.escape("--experimental: unknown option")):
        check_arguments(["--experimental=x.pickle"], ["--experimental=x.pickle"], list)


@pytest.mark.parametrize("key", ["srun_args", "partition", "qos"])
def test_keys_of_submitit_are_known_for_slurm(key):
    """Those of its executor too, which the dataclass of Hydra's plugin does not have."""
    config = OmegaConf.create({"hydra": {"launcher": OmegaConf.structured(SlurmConf)}})
    OmegaConf.set_struct(config.hydra.launcher, False)
    config.hydra.launcher[key] = "x"
    check_hydra_keys(config)
    config.hydra.launcher["srun_argz"] = "x"
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.srun_argz: unknown key"):
        check_hydra_keys(config)
