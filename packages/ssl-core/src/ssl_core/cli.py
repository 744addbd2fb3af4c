"""``ssl-core COMMAND``: what can be done with a run folder after the run. Each command is a module of its own."""

import argparse
import importlib
import sys

# A module has HELP, add_arguments(parser) and run(arguments) -> exit code, and imports nothing heavy at its top.
COMMANDS = {
    "export": "ssl_core.export",
    "sync-wandb": "ssl_core.sync_wandb",
}


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="ssl-core", description="What can be done with run folders after their runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, home in COMMANDS.items():
        module = importlib.import_module(home)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
