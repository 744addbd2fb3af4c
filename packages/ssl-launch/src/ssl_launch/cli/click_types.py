"""Subclasses of click's classes: arguments with suggestions, and a command whose arguments Hydra parses."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ssl_core.config.suggestion import did_you_mean
from ssl_launch.run_path import find_run, missing_run, run_paths

OPTIONS = ("--config-name", "--config-path", "--config-dir", "--cfg", "--help", "--multirun")  # those of Hydra in use


class Word(click.Choice[str]):
    """One of some words; the message suggests the nearest."""

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        """Return the message for another word."""
        return f"{value!r} is not one of {', '.join(self.choices)}{did_you_mean(value, self.choices)}"


class Commands(click.Group):
    """The commands, listed in the order of this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are defined."""
        return list(self.commands)


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


class HydraCommand(click.Command):
    """Passes all arguments on; help and completion do without importing Hydra.

    Parameters
    ----------
    text : str
        What ``--help`` prints; PROGRAM in it is replaced by the command.
    """

    def __init__(self, name: str | None, text: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.add_help_option = False
        self.context_settings["ignore_unknown_options"] = True
        self.text = text

    def invoke(self, ctx: click.Context) -> Any:
        """Print the help, or run the command."""
        if {"--help", "-h"} & set(ctx.params["arguments"]):
            print(self.text.replace("PROGRAM", ctx.command_path), end="")
            return None
        return super().invoke(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the options."""
        return [CompletionItem(option) for option in OPTIONS if option.startswith(incomplete)]
