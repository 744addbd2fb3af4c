"""Train: from a command line to a run. Hydra composes YAML and submits jobs; the rest works with dataclasses."""

import dataclasses
import sys
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.methods import method_class
from ssl_core.run.folder import plain_config
from ssl_core.run.notebook import notebook_shell
from ssl_core.run.source_location import remember_source
from ssl_launch.commands.help_texts import TRAIN
from ssl_launch.commands.views import show_data, show_views
from ssl_launch.hydra_app.app import run_command
from ssl_launch.hydra_app.build_config import build_config, every_key
from ssl_launch.hydra_app.error_messages import exit_with_message
from ssl_launch.hydra_app.recipe import name_recipe
from ssl_launch.hydra_app.run_name import run_name


def main() -> None:
    """Train the method of ``ssl_core.methods`` that ``model.name`` names: the command line of ``runs/main.py``."""
    launch()


def launch(method: type | None = None, *, data: Any = None, report: bool = True) -> None:
    """Train a method from the command line of the calling script, with recipes, overrides, sweeps and SLURM.

    Parameters
    ----------
    method : type, optional
        A :class:`ssl_core.BaseModel`. Default: the one of ``ssl_core.methods`` that ``model.name`` names.
    data : type or object, optional
        The dataclass of the ``data`` group, with ``open(batch_size, seed, rank, world_size)``; or an instance of one, such as
        ``DataConfig.of(train=..., test=..., views=...)``, which replaces the group ``data`` of the recipe; keys on the command
        line still change it. Default: :class:`ssl_data.DataConfig`.
    report : bool
        Whether a run ends with a table and a figure. ``log.report=false`` turns them off for one run.

    Notes
    -----
    Recipes are looked for in ``configs/`` of the script's folder, then among those of the package; the default is
    ``simclr_affine_digits``. ``hydra/launcher=submitit_slurm`` submits, with or without ``-m``, and ``-m`` may be anywhere. A
    sweep without a launcher runs on this machine, each run in its own process, ``hydra.launcher.n_jobs`` at a time.

    ``python3 my_idea.py views`` and ``python3 my_idea.py data`` show the data instead of training, as ``stable-ssl views`` and
    ``stable-ssl data`` do.

    An invalid configuration ends the process with exit code 2 and one line; a run that fails, with the exit code of its
    error (see ``ssl_core.errors``). In a notebook, a ConfigError names what to call instead.
    """
    if notebook_shell():
        name = method.__name__ if isinstance(method, type) else "MyIdea"
        raise ConfigError(
            f"launch() reads the command line, and a notebook has none; call {name}(Config(...)).fit() instead, with Config "
            "from ssl_core"
        )
    for problem in (_problem_with_method(method), _problem_with_data(data)):
        if problem:
            exit_with_message(problem, ConfigError.exit_code)
    for kind in (method, data):
        if kind is not None:
            remember_source(kind if isinstance(kind, type) else type(kind))
    if (method or data) is not None and sys.argv[1:2] in (["views"], ["data"]):
        look = show_views if sys.argv.pop(1) == "views" else show_data
        return look(method, data)
    run_command(
        "simclr_affine_digits",
        TRAIN,
        lambda composed: _run(composed, method, data, report),
        lambda composed: plain_config(_config(composed, method, data, report)),
        name_recipe,
        configured=lambda composed: _config(composed, method, data, report),
        method=method,
        keys=lambda: every_key(data, method),
    )


def _problem_with_method(method: Any) -> str | None:
    """Return the line for a method that is not a class of a model."""
    if method is None:
        return None
    from ssl_core.base_model import BaseModel  # imports torch, which the class has imported already

    if isinstance(method, type) and issubclass(method, BaseModel):
        return None
    if isinstance(method, BaseModel):
        name = type(method).__name__
        return f"launch({name}(...)): expected the class, launch({name}); the command line makes the object"
    return f"launch({_named(method)}): expected a subclass of ssl_core.BaseModel, e.g. class MyIdea(BaseModel)"


def _problem_with_data(data: Any) -> str | None:
    """Return the line for data that is neither a dataclass with ``open`` nor an instance of one."""
    if data is None or (dataclasses.is_dataclass(data) and hasattr(data, "open")):
        return None
    return (
        f"launch(data={_named(data)}): expected a dataclass with open(batch_size, seed, rank, world_size), or an instance of "
        "one, e.g. ssl_data.DataConfig.of(train=..., test=...)"
    )


def _named(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else f"{value!r:.50}"


def _config(composed: DictConfig, method: type | None, data: Any, report: bool) -> Config:
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    plain.pop("hydra", None)  # of a member that a launcher has composed
    config = build_config(plain, list(HydraConfig.get().overrides.task), method, data)
    kind: Any = method or method_class(config.model.name)
    kind.check_config(config)
    config.log.report = config.log.report and report
    if config.log.run is None:
        config.log.run = run_name(HydraConfig.get(), method)
    return config


def _run(composed: DictConfig, method: type | None, data: Any, report: bool) -> dict[str, float]:
    config = _config(composed, method, data, report)
    kind = method or method_class(config.model.name)  # imports torch; the configuration is valid by now
    from ssl_core.training.fit_and_report import fit_and_report

    return fit_and_report(kind(config))
