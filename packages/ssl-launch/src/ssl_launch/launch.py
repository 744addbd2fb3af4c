"""From a command line to a run. Hydra stays at the door: it composes YAML and submits; then the dataclasses take over."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import Config
from ssl_launch.assemble import assemble
from ssl_launch.complaint import complaint
from ssl_launch.hydra_command import run_command
from ssl_launch.run_name import run_name


def main() -> None:
    """Train one of our methods, named by ``model.name``: the command line of ``runs/main.py``."""
    launch()


def launch(method: type | None = None, *, data: type | None = None, report: bool = True) -> None:
    """Run the whole command line for one's own method, or for ours.

    Parameters
    ----------
    method : type, optional
        A :class:`ssl_core.BaseModel`. Default: the one of ``ssl_core.models`` that ``model.name`` names.
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
    of its error (see ``ssl_core.errors``).
    """
    run_command(
        "simclr_digits",
        lambda composed: _run(composed, method, data, report),
        lambda error: complaint(error, data),
        configured=lambda composed: _configured(composed, method, data, report)[1],
    )


def _run(composed: DictConfig, method: type | None, data: type | None, report: bool) -> dict[str, float]:
    kind, config = _configured(composed, method, data, report)
    return kind(config).fit()


def _configured(composed: DictConfig, method: type | None, data: type | None, report: bool) -> tuple[type, Config]:
    """Return the method's class and the configuration of the run that was composed."""
    hydra = HydraConfig.get()
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    plain.pop("hydra", None)  # of a member that a launcher has composed
    kind, config = assemble(plain, list(hydra.overrides.task), method, data)
    config.log.report = config.log.report and report
    if config.log.run is None:
        config.log.run = run_name(hydra, method)
    return kind, config
