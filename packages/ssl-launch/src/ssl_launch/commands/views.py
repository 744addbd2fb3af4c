"""Look at the data of a configuration: ``stable-ssl views`` (a picture) and ``stable-ssl data`` (a report)."""

import contextlib
import sys
from argparse import Namespace
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import Config, option
from ssl_core.config.validation import build_groups, check_groups
from ssl_core.errors import ConfigError
from ssl_core.run.folder import plain_config
from ssl_data.errors import ArgumentError
from ssl_launch.commands.help_texts import DATA, VIEWS
from ssl_launch.hydra_app.app import run_command
from ssl_launch.hydra_app.build_config import build_config, every_key
from ssl_launch.hydra_app.recipe import name_recipe
from ssl_launch.hydra_app.run_name import name_of

QUICK = 1000  # samples of each part that the report below a picture reads
UNREADABLE = 1  # exit code for samples that cannot be read


@dataclass
class PictureConfig:
    """The keys of ``stable-ssl views`` beyond those of a run."""

    rows: int = option(6, low=1, high=100)  # samples
    bands: list[int] | None = option(
        None, low=0
    )  # one or three that are drawn of an image, from 0; null: the first three


@dataclass
class ReportConfig:
    """The keys of ``stable-ssl data`` beyond those of a run."""

    samples: int = option(0, low=0)  # samples to read of each part, evenly spread; 0: all


def show_views(method: type | None = None, data: Any = None) -> None:
    """Draw the views of the command line's configuration, and print a short report and the name of the file.

    Parameters
    ----------
    method, data : optional
        As in :func:`ssl_launch.launch`.
    """
    _run(VIEWS, PictureConfig, _draw, method, data)


def show_data(method: type | None = None, data: Any = None) -> None:
    """Print the report of the command line's data set; exit with code 1 if a sample cannot be read.

    Parameters
    ----------
    method, data : optional
        As in :func:`ssl_launch.launch`.
    """
    _run(DATA, ReportConfig, _describe, method, data)


def _run(help_text: str, kind: Any, act: Any, method: type | None, data: Any) -> None:
    run_command(
        "simclr_affine_digits",
        help_text,
        lambda composed: act(*_configured(composed, kind, method, data)),
        lambda composed: plain_config(_configured(composed, kind, method, data)[0]),
        lambda arguments: _prepare(arguments, _names(kind)),
        method=method,
        keys=lambda: every_key(data, method) | _names(kind),
    )


def _prepare(arguments: Namespace, names: set[str]) -> None:
    """Take a bare word as the name of a recipe, and add the keys of this command, which no recipe has."""
    name_recipe(arguments)
    keys = [each.lstrip("+").partition("=")[0] for each in arguments.overrides]
    arguments.overrides = [
        f"++{each.lstrip('+')}" if key in names else each for key, each in zip(keys, arguments.overrides)
    ]


def _configured(composed: DictConfig, kind: Any, method: type | None, data: Any) -> tuple[Config, Any]:
    """Return the configuration of a run, and the keys of this command."""
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    own = {name: plain.pop(name) for name in _names(kind) if name in plain}
    options = build_groups({"": kind}, {"": own})[""]
    check_groups({"": options})
    hydra = HydraConfig.get()
    config = build_config(plain, list(hydra.overrides.task), method, data)
    names = ["Views", *([] if method is None else [method.__name__]), str(hydra.job.config_name)]
    config.log.run = config.log.run or name_of(names, list(hydra.overrides.task))
    return config, options


def _names(kind: Any) -> set[str]:
    return {each.name for each in fields(kind)}


def _draw(config: Config, options: PictureConfig) -> None:
    from ssl_data import describe, show_views  # imports torch and numba

    seed = config.hardware.seed
    try:
        sheet = show_views(config.data, options.rows, options.bands, seed, title=str(config.log.run))
        file = sheet.save(Path(config.log.folder) / f"{config.log.run}.png")
    except (ImportError, ArgumentError) as error:
        raise ConfigError(str(error)) from error
    with contextlib.suppress(ArgumentError):  # a stream has no samples by position
        print(describe(config.data, QUICK, seed, progress=sys.stderr.isatty()))
    print(file.resolve())


def _describe(config: Config, options: ReportConfig) -> None:
    from ssl_data import describe

    report = describe(config.data, options.samples, config.hardware.seed, progress=sys.stderr.isatty())
    print(report)
    if report.num_unreadable:
        raise SystemExit(UNREADABLE)
