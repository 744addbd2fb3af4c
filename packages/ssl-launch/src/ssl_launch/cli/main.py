"""``stable-ssl COMMAND``: one command line for all that is done with configurations and runs.

Each command is a module or a function of its own, loaded when it is asked for: ``ls`` and the completion of a shell wait for
neither Hydra nor torch.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError
from ssl_eval.output_stream import exit_code_of_output, protect_output
from ssl_launch.hydra_app.working_directory import check_working_directory

HELP = """stable-ssl COMMAND ...: self-supervised learning, from an idea to its table

  train       train a configuration: --config-name=NAME group.key=value ...
  resume      go on with a run, from its folder alone; --from-scratch: again
  ls          list runs: status, best metric, age
  watch       running experiments, live in the terminal
  eval        judge the checkpoints of runs by a protocol
  report      compare runs: tables, figures and a page
  views       a picture of what a model will see
  doctor      what this machine has and lacks, and what to do about it
  completion  a script that lets bash or zsh complete all of this

stable-ssl COMMAND --help says more. A run is a folder; configurations are YAML
files in configs/ of the folder where you stand, or among the embedded ones.

Exit codes: 0 done, 2 refused (one line says why), 3 no whole checkpoint,
4 diverged, 74 the disk refuses, 75 preempted: the same command goes on.
"""
# command -> module:function, which takes the arguments and returns the exit code
COMMANDS = {
    "train": "ssl_launch.cli.main:train",
    "resume": "ssl_launch.cli.resume:main",
    "ls": "ssl_launch.cli.ls:main",
    "watch": "ssl_launch.cli.main:watch",
    "eval": "ssl_launch.cli.main:evaluate",
    "report": "ssl_launch.cli.main:report",
    "views": "ssl_launch.cli.main:views",
    "doctor": "ssl_launch.cli.doctor:main",
    "completion": "ssl_launch.cli.completion:main",
}
WRITES_FILES = ("train", "resume", "eval", "views")  # what these print is in files as well


def main() -> int:
    """Run one command; return its exit code. What is refused is one line on stderr."""
    protect_output()
    name, *arguments = sys.argv[1:] or ["--help"]
    try:
        check_working_directory()
        if name in ("-h", "--help", "help"):
            print(HELP, end="")
            return exit_code_of_output(0)
        if name == "--version":
            from ssl_core.run.environment import versions

            print(", ".join(f"{package} {version}" for package, version in versions().items()))
            return exit_code_of_output(0)
        if name not in COMMANDS:
            raise ConfigError(
                f"stable-ssl {name}: unknown command{suggest_key(name, [*COMMANDS, '--version', '--help'])}"
            )
        module, function = COMMANDS[name].split(":")
        code = getattr(importlib.import_module(module), function)(arguments)
        return code if name in WRITES_FILES else exit_code_of_output(code)
    except ConfigError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130


def train(arguments: Sequence[str]) -> int:
    """Be ``main.py``, in the folder where the user stands."""
    _be_script("train", arguments)
    from ssl_launch.commands.train import launch

    launch()
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """Be ``eval.py``; a run may be named without ``run=``."""
    from ssl_launch.commands.evaluate import evaluate, with_runs_named

    _be_script("eval", with_runs_named(arguments))
    evaluate()
    return 0


def views(arguments: Sequence[str]) -> int:
    """Be ``show_views.py``."""
    _be_script("views", arguments)
    from ssl_launch.commands.views import show_views

    show_views()
    return 0


def report(arguments: Sequence[str]) -> int:
    """Be ``ssl-eval report``."""
    return _ssl_eval("report", arguments)


def watch(arguments: Sequence[str]) -> int:
    """Be ``ssl-eval watch``."""
    return _ssl_eval("watch", arguments)


def _ssl_eval(command: str, arguments: Sequence[str]) -> int:
    from ssl_eval.cli import main

    return main([command, *arguments], prog="stable-ssl")


def _be_script(name: str, arguments: Sequence[str]) -> None:
    """Let what reads ``sys.argv`` find a script in the folder where the user stands: its ``configs/`` are looked into."""
    sys.argv = [str(Path.cwd() / f"stable-ssl {name}"), *arguments]


if __name__ == "__main__":
    sys.exit(main())
