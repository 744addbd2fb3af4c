from pathlib import Path

import pytest

from ssl_launch.hydra_app.arguments import normalize_arguments
from ssl_launch.hydra_app.build_config import build_config


@pytest.mark.parametrize("at", range(3))
def test_m_may_stand_anywhere(at):
    arguments = ["a=1", "b=2"]
    arguments.insert(at, "-m")
    assert normalize_arguments(arguments, Path(".")) == ["-m", "a=1", "b=2"]


def test_options_with_their_values_may_stand_anywhere_as_well():
    arguments = ["a=1", "--config-name", "mine", "b=2", "-c", "job", "--config-dir=x", "c=-m"]
    tidied = ["--config-name", "mine", "-c", "job", "--config-dir=x", "a=1", "b=2", "c=-m"]
    assert normalize_arguments(arguments, Path(".")) == tidied


def test_a_relative_config_path_is_that_of_the_script_or_of_here(tmp_path, monkeypatch):
    (tmp_path / "script" / "configs").mkdir(parents=True)
    (tmp_path / "here" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    script = tmp_path / "script"
    assert normalize_arguments(["--config-path", "configs/"], script)[1] == str(script / "configs")
    assert normalize_arguments(["--config-path=mine"], script) == [f"--config-path={tmp_path / 'here' / 'mine'}"]


def test_keys_of_another_method_come_along_with_its_file_but_are_refused_when_typed():
    from ssl_core import BaseModel, ConfigError

    class Mine(BaseModel):
        pass

    composed = {"model": {"name": "simclr", "backbone": "resnet9", "temperature": 0.3, "projector": [8]}}
    config = build_config(composed, [], Mine)
    assert (config.model.name, config.model.backbone) == ("Mine", "resnet9")
    with pytest.raises(ConfigError, match=r"model\.temperature: unknown key"):
        build_config(composed, ["++model.temperature=0.3"], Mine)


def test_a_launcher_key_that_plus_plus_puts_past_hydra_is_named_as_well(tmp_path):
    """Oracle: the error that submitit itself raises."""
    from submitit import AutoExecutor

    from ssl_launch.hydra_app.error_messages import error_message

    with pytest.raises(NameError) as caught:
        AutoExecutor(tmp_path, cluster="local").update_parameters(local_timeoutmin=3)
    assert error_message(caught.value) == (
        "hydra.launcher.timeoutmin: unknown key; did you mean 'hydra.launcher.timeout_min'?"
    )
    assert error_message(NameError("name 'x' is not defined")) is None  # somebody's bug


def test_several_problems_are_counted():
    from ssl_core import ConfigError

    with pytest.raises(ConfigError, match=r"optim\.lr=-1: .*\(and 2 more: optim\.epoch, log\.levle\)"):
        build_config({"optim": {"lr": -1, "epoch": 3}, "log": {"levle": 1}}, [])


def test_a_config_cannot_name_a_function():
    from ssl_core import ConfigError

    for group in (
        {"model": {"_target_": "os.system"}},
        {"optim": {"_target_": "os.system"}},
        {"_target_": "os.system"},
    ):
        with pytest.raises(ConfigError, match="_target_"):
            build_config(group, [])


def test_launch_of_something_else_is_one_line(capsys):
    from ssl_core import BaseModel
    from ssl_launch import launch

    class Mine(BaseModel):
        pass

    class NotAModel:
        pass

    for arguments, line in (
        ({"method": NotAModel}, "launch(NotAModel): expected a subclass of ssl_core.BaseModel"),
        ({"method": Mine()}, "launch(Mine(...)): expected the class, launch(Mine)"),
        ({"method": "Mine"}, "launch('Mine'): expected a subclass"),
        ({"method": Mine, "data": NotAModel}, "launch(data=NotAModel): expected a dataclass, not an instance"),
    ):
        with pytest.raises(SystemExit) as ended:
            launch(**arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(line)


def test_batch_that_a_method_cannot_train_with_is_refused():
    from ssl_core import ConfigError

    for model, batch_size in (("simclr", 1), ("w_mse", 64)):
        with pytest.raises(ConfigError, match=rf"^optim\.batch_size={batch_size}: "):
            build_config({"model": {"name": model}, "optim": {"batch_size": batch_size}}, [])
    with pytest.raises(ConfigError, match=r"^model\.temperature=1e-30: expected a number, at least 1e-06"):
        build_config({"model": {"temperature": 1e-30}}, [])
