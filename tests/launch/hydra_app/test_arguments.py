"""Command lines: options and keys in any order and with any prefix."""

import re
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from submitit import AutoExecutor

from ssl_core import BaseModel
from ssl_core.errors import ConfigError
from ssl_launch import launch
from ssl_launch.commands.train import _config
from ssl_launch.hydra_app.arguments import complete_arguments, parse_arguments, to_words
from ssl_launch.hydra_app.error_messages import error_message
from ssl_launch.hydra_app.run_name import name_of

OPTIONS = {"--method": "method_class", "--watch": "watch=true"}


@pytest.mark.parametrize("at", range(3))
def test_m_may_be_anywhere(at):
    arguments = ["a=1", "b=2"]
    arguments.insert(at, "-m")
    assert to_words(parse_arguments(arguments, {})) == ["--multirun", "a=1", "b=2"]


def test_options_with_values_may_be_anywhere():
    typed = ["a=1", "--config-name", "mine", "--watch", "b=2", "-c", "job", "--method", "a b.py:Mine", "c=-m"]
    arguments = parse_arguments([*typed, "--config-dir=x", "--method=d.py:Data"], OPTIONS)
    assert to_words(arguments) == [
        "--cfg=job", "--config-name=mine", "--config-dir=x", "a=1", "b=2", "c=-m", "watch=true",
        'method_class="a b.py:Mine"', 'method_class="d.py:Data"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["--method"], "argument --method: expected one argument"),
        (["--metod=a.py:A"], "--metod: unknown option; did you mean '--method'"),
        (["a=1", "--lr", "0.1"], "--lr: unknown option; expected a key without dashes; did you mean 'optim.lr=0.1'"),
        (["--lr", "a=1"], "--lr: unknown option; expected a key without dashes; did you mean 'optim.lr=VALUE'"),
        (["--experimental-rerun=x.pickle"], "--experimental-rerun: unknown option"),
        (["--experimental=x.pickle"], "--experimental: unknown option"),  # options are not abbreviated
    ],
)
def test_unknown_option_is_an_error(typed, line):
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        parse_arguments(typed, OPTIONS, lambda: ["optim.lr"])


@pytest.mark.parametrize(
    ("typed", "multirun"),
    [
        (
            ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=two"],
            True,
        ),  # Hydra reports the values of a sweep as an error
        (["hydra/sweeper=optuna", "hydra.mode=RUN"], False),
        (["hydra/sweeper=optuna", "--cfg=job"], False),
        (["a=1"], False),
    ],
)
def test_named_sweeper_needs_no_m(typed, multirun):
    arguments = parse_arguments(typed, {})
    complete_arguments(arguments, Path("."))
    assert arguments.multirun is multirun


def test_relative_config_path_starts_here_or_at_the_script(tmp_path, monkeypatch):
    (tmp_path / "script" / "configs").mkdir(parents=True)
    (tmp_path / "here" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for typed, found in (("configs/", tmp_path / "script" / "configs"), ("mine", tmp_path / "here" / "mine")):
        arguments = parse_arguments(["--config-path", typed], {})
        complete_arguments(arguments, tmp_path / "script")
        assert arguments.config_path == str(found)


def test_launcher_key_that_only_submitit_checks_is_named(tmp_path):
    """Oracle: the error that submitit itself raises."""
    with pytest.raises(NameError) as caught:
        AutoExecutor(tmp_path, cluster="local").update_parameters(local_timeoutmin=3)
    assert error_message(caught.value) == (
        "hydra.launcher.timeoutmin: unknown key; did you mean 'hydra.launcher.timeout_min'?"
    )
    assert error_message(NameError("name 'x' is not defined")) is None  # a bug


def test_launch_of_a_wrong_object_is_one_line(capsys):
    class Mine(BaseModel):
        pass

    class NotAModel:
        pass

    for arguments, line in (
        ({"method": NotAModel}, "launch(NotAModel): expected a subclass of ssl_core.BaseModel"),
        ({"method": Mine()}, "launch(Mine(...)): expected the class, launch(Mine)"),
        ({"method": "Mine"}, "launch('Mine'): expected a subclass"),
        ({"method": Mine, "data": NotAModel}, "launch(data=NotAModel): expected a dataclass with open("),
    ):
        with pytest.raises(SystemExit) as ended:
            launch(**arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(line)


@pytest.fixture
def configurations(monkeypatch, tmp_path):
    """Return a function that runs a command line in an empty folder and returns the configuration of each run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    found = []
    monkeypatch.setitem(launch.__globals__, "_run", lambda composed, *rest: found.append(_config(composed, *rest)))

    def run(*arguments):
        monkeypatch.setattr("sys.argv", [str(tmp_path / "main.py"), *arguments])
        GlobalHydra.instance().clear()
        launch()
        return [found.pop(0) for _ in range(len(found))]

    return run


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.lr", 0.5),  # simclr_affine_digits has it
        ("optim.momentum", 0.5),  # and has not
        ("model.backbone_options.width", 8),
        ("optim.freeze.backbone.stem", 2),
        ("data.fraction", 0.5),
    ],
)
def test_known_key_is_set_with_any_prefix(configurations, plus, key, value):
    [config] = configurations(f"{plus}{key}={value}")
    group, *names = key.split(".")
    found = getattr(config, group)
    for name in names:
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value
    assert config.log.run == name_of(["simclr_affine_digits"], [f"{key}={value}"])


def test_key_of_a_method_named_on_the_same_line_is_set(configurations):
    [config] = configurations("model.name=vicreg", "model.invariance=3")
    assert (config.model.name, config.model.invariance, config.model.projector) == ("vicreg", 3.0, [256, 64])


def test_sweep_over_keys_that_the_file_does_not_have(configurations, tmp_path):
    sweep = ["-m", "hydra/launcher=basic", "optim.momentum=0.5,0.9", "model.backbone_options.width=4,8"]
    found = [(config.optim.momentum, config.model.backbone_options) for config in configurations(*sweep)]
    assert found == [(momentum, {"width": width}) for momentum in (0.5, 0.9) for width in (4, 8)]
    (tmp_path / "configs" / "mine.yaml").write_text(
        "defaults: [simclr_digits, {override hydra/launcher: basic}, _self_]\n"
        "hydra: {sweeper: {params: {optim.momentum: '0.1,0.2'}}}\n"
    )
    assert [config.optim.momentum for config in configurations("--config-name=mine")] == [0.1, 0.2]


def test_key_can_be_removed_from_the_file(configurations):
    [config] = configurations("~model.backbone_options")
    assert config.model.backbone_options == {}


def test_missing_optuna_is_named_with_its_package():
    """Without the sweeper's package Hydra knows its own choice only."""
    error = MissingConfigException("", "hydra/sweeper/optuna", options=["basic"])
    assert error_message(error) == "hydra/sweeper=optuna: Optuna is not installed; pip install hydra-optuna-sweeper"
