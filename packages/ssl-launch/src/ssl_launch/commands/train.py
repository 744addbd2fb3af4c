"""From a command line to a run. Hydra stays at the door: it composes YAML and submits; then the dataclasses take over."""

import dataclasses
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.methods import method_class
from ssl_core.run.folder import plain_config
from ssl_core.run.notebook import notebook_shell
from ssl_core.run.source_location import remember_source
from ssl_launch.hydra_app.app import run_command
from ssl_launch.hydra_app.build_config import build_config, every_key
from ssl_launch.hydra_app.error_messages import error_message, exit_with_message
from ssl_launch.hydra_app.run_name import run_name

HELP = """Train: PROGRAM [--config-name=NAME] [group.key=value ...]

  --config-name=NAME  configs/NAME.yaml, beside the script or among the embedded
  --config-path=DIR   look for NAME in another folder
  group.key=value     a key that the file has; +group.key=value one that it has
                      not; ++group.key=value either
  -m                  a run for each combination of values with commas between,
                      hydra.launcher.n_jobs=N of them side by side
  hydra/launcher=     submitit_slurm: a cluster; submitit_local: processes of
                      this machine; hydra.launcher.KEY=value, e.g. timeout_min
  --cfg job           print the whole configuration, defaults included, and stop

Groups, and where their keys stand, one comment a key with default and unit:
  data                ssl_data/config.py
  model               ssl_core/config/schema.py; of each method:
                      ssl_core/methods/configs.py
  optim hardware log  ssl_core/config/schema.py
"""


def main() -> None:
    """Train one of our methods, named by ``model.name``: the command line of ``runs/main.py``."""
    launch()


def launch(method: type | None = None, *, data: type | None = None, report: bool = True) -> None:
    """Run the whole command line for one's own method, or for ours.

    Parameters
    ----------
    method : type, optional
        A :class:`ssl_core.BaseModel`. Default: the one of ``ssl_core.methods`` that ``model.name`` names.
    data : type, optional
        The dataclass of the ``data`` group, with ``open(batch_size, seed, rank, world_size)``. Default:
        :class:`ssl_data.DataConfig`.
    report : bool
        Whether a run ends with a table and a figure (``log.report`` says otherwise for one run).

    Notes
    -----
    Configurations are looked for in ``configs/`` beside the calling script, then among the embedded ones; without
    ``--config-name`` it is the embedded ``simclr_digits``. A launcher that is named (``hydra/launcher=submitit_slurm``)
    submits, with or without ``-m``, and ``-m`` may stand anywhere. A sweep for which no launcher is named runs here, each
    member in a process of its own, ``hydra.launcher.n_jobs`` at a time (``hydra/launcher=side_by_side``).

    A refused configuration ends the process with exit code 2 and one line; a run that cannot go on with the exit code
    of its error (see ``ssl_core.errors``). In a notebook it raises a ConfigError that names what to call instead.
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
            remember_source(kind)
    run_command(
        "simclr_digits",
        HELP,
        lambda composed: _run(composed, method, data, report),
        lambda error: error_message(error, data, method=method),
        lambda composed: plain_config(_config(composed, method, data, report)),
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
    """Return the line for data that is not a dataclass with ``open``."""
    if data is None or (isinstance(data, type) and dataclasses.is_dataclass(data) and hasattr(data, "open")):
        return None
    return (
        f"launch(data={_named(data)}): expected a dataclass, not an instance, with open(batch_size, seed, rank, world_size), "
        "e.g. ssl_data.DataConfig"
    )


def _named(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else f"{value!r:.50}"


def _config(composed: DictConfig, method: type | None, data: type | None, report: bool) -> Config:
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    plain.pop("hydra", None)  # of a member that a launcher has composed
    config = build_config(plain, list(HydraConfig.get().overrides.task), method, data)
    config.log.report = config.log.report and report
    if config.log.run is None:
        config.log.run = run_name(HydraConfig.get(), method)
    return config


def _run(composed: DictConfig, method: type | None, data: type | None, report: bool) -> dict[str, float]:
    config = _config(composed, method, data, report)
    kind = method or method_class(config.model.name)  # here torch is imported: all that can be refused is by now
    from ssl_core.evaluation.final_report import fit_and_report

    return fit_and_report(kind(config))
