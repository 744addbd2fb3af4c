"""From a command line to a run. Hydra stays at the door: it composes YAML and submits; then the dataclasses take over."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_launch.arguments import tidy_arguments
from ssl_launch.assemble import assemble
from ssl_launch.complaint import EMBEDDED, complaint, end
from ssl_launch.hydra_defaults import register_defaults
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
    submits, with or without ``-m``, and ``-m`` may stand anywhere.

    A refused configuration ends the process with exit code 2 and one line; a run that cannot go on with the exit code
    of its error (see ``ssl_core.errors``).
    """
    script = Path(sys.argv[0]).absolute()
    beside = script.parent / "configs"
    sys.argv[1:] = tidy_arguments(sys.argv[1:], script.parent)
    register_defaults(script.stem)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us instead of to Hydra's printer
    entry = hydra.main(
        version_base="1.3",
        config_path=str(beside if beside.is_dir() else EMBEDDED),
        config_name="simclr_digits",
    )
    try:
        entry(_task(method, data, report))()
    except Exception as error:
        line = complaint(error, data)
        if line is None:
            raise  # somebody's bug: the whole traceback
        end(line, getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        end("interrupted", 130)


def _task(method: type | None, data: type | None, report: bool) -> Callable[[DictConfig], dict[str, float]]:
    """Return what Hydra calls, here or in a job on the cluster."""

    def task(composed: DictConfig) -> dict[str, float]:
        alone = HydraConfig.get().mode is hydra.types.RunMode.RUN
        try:
            return _run(composed, method, data, report)
        except Exception as error:
            line = complaint(error, data)
            if line is None or not alone:
                raise  # a sweep's launcher must see it: the other members go on
            end(line, getattr(error, "exit_code", 2))

    return task


def _run(composed: DictConfig, method: type | None, data: type | None, report: bool) -> dict[str, float]:
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    kind, config = assemble(plain, HydraConfig.get().overrides.task, method, data)
    config.log.report = config.log.report and report
    if config.log.run is None:
        config.log.run = run_name(HydraConfig.get(), method)
    return kind(config).fit()
