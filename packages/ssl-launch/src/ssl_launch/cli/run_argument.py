"""The argument RUN of a command: a run folder, found in the working directory or in ``outputs/``."""

import glob
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ssl_core.config.suggestion import did_you_mean
from ssl_launch.commands.run_path import OUTPUTS, find_run


class RunArgument(click.ParamType):
    """The path of a run, or with ``several`` of a folder of runs, a file among them, a pattern or ``wandb:entity/project``."""

    name = "run"

    def __init__(self, several: bool = False) -> None:
        self.several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or end with a line that names the nearest folder."""
        path = find_run(value)
        if self.several and (value.startswith("wandb:") or Path(path).exists() or glob.glob(path)):
            return path
        if Path(path).is_dir():
            return path
        if Path(path).exists():
            raise click.UsageError(f"{value!r} is not a folder", ctx)
        known = [str(each) for folder in (Path(value).parent, Path(OUTPUTS, value).parent) for each in _folders(folder)]
        known += [str(Path(each).relative_to(OUTPUTS)) for each in known if Path(each).is_relative_to(OUTPUTS)]
        raise click.UsageError(f"no run {value!r}, neither here nor in {OUTPUTS}/{did_you_mean(value, known)}", ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the folders that begin like this."""
        return [CompletionItem(each) for each in run_paths(incomplete)]


def run_paths(incomplete: str) -> list[str]:
    """Return the paths of folders here and the names of runs in ``outputs/`` that begin with what is typed."""
    here = [path for path in glob.glob(f"{incomplete}*") if Path(path).is_dir()]
    inside = [
        str(Path(path).relative_to(OUTPUTS)) for path in glob.glob(f"{OUTPUTS}/{incomplete}*") if Path(path).is_dir()
    ]
    return sorted({*here, *inside})


def _folders(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
