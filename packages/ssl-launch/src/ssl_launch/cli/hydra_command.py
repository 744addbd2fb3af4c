"""A command of ``stable-ssl`` whose arguments Hydra parses: train, eval, views."""

from typing import Any

import click
from click.shell_completion import CompletionItem

OPTIONS = ("--config-name", "--config-path", "--config-dir", "--cfg", "--help", "--multirun")  # those of Hydra in use


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
