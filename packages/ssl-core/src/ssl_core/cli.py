"""``ssl-core COMMAND``: what can be done with a run folder after the run. Each command is a module of its own."""

import argparse
import importlib
import sys

from ssl_eval.output_stream import protect_output

# A module has add_arguments(parser) and run(arguments) -> exit code. Only that of the command that is asked for is imported:
# the others may need torch, which takes seconds.
COMMANDS = {
    "export": ("ssl_core.checkpoint.export", "write the backbone of a run as a safetensors file"),
    "sync-wandb": ("ssl_core.loggers.wandb.sync", "upload run folders to wandb, or what is missing there"),
}


def main() -> int:
    """Run one command and return its exit code."""
    protect_output()
    parser = argparse.ArgumentParser(prog="ssl-core", description="What can be done with run folders after their runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (home, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in sys.argv[1:2]:
            module = importlib.import_module(home)
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
