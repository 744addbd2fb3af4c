"""The argument RUN of a command: a run folder, found in the working directory or in ``outputs/``."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ssl_launch.run_path import find_run, missing_run, run_paths


class RunArgument(click.ParamType):
    """The path of a run, or with ``several`` of a folder of runs, a file among them, a pattern or ``wandb:entity/project``."""

    name = "run"

    def __init__(self, several: bool = False) -> None:
        self.several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or end with a line that names the nearest folder."""
        problem = missing_run(value)
        if self.several and (value.startswith("wandb:") or not problem):
            return find_run(value)
        if not problem and not Path(find_run(value)).is_dir():
            problem = f"{value!r} is not a folder"
        if problem:
            raise click.UsageError(problem, ctx)
        return find_run(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the folders that begin like this."""
        return [CompletionItem(each) for each in run_paths(incomplete)]
