"""``stable-ssl COMMAND``: one command line for configurations and runs.

Each command is a function here. Those that need torch or Hydra import them when they run: ``--help``, ``ls`` and the completion
of a shell do not wait for them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import ssl_data.cli
import ssl_eval.cli
import ssl_launch
from ssl_core.errors import ConfigError, RunError
from ssl_core.loggers.wandb.upload import sync
from ssl_core.run.environment import versions
from ssl_eval.output_stream import exit_code_of_output, protect_output
from ssl_launch.cli.catalog import KINDS, print_catalog
from ssl_launch.cli.click_types import Commands, HydraCommand, RunArgument, Word
from ssl_launch.cli.completion import complete_overrides, complete_runs
from ssl_launch.cli.doctor import print_findings
from ssl_launch.cli.ls import SORTS, print_runs
from ssl_launch.cli.usage_message import usage_message
from ssl_launch.commands.compare import MEASURES
from ssl_launch.commands.help_texts import DATA as DATA_HELP
from ssl_launch.commands.help_texts import EVALUATE, TRAIN, VIEWS
from ssl_launch.run_path import OUTPUTS, check_working_directory

WRITES_FILES = ("train", "resume", "eval", "views", "compare")  # lost output is no error: their results are in files
RUN, RUNS = RunArgument(), RunArgument(several=True)
METHOD = click.option("--method", metavar="FILE.py:CLASS", help="The method, if its file has moved.")
DATA = click.option("--data", metavar="FILE.py:CLASS", help="The data configuration, if its file has moved.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error is one line on stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    protect_output()
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        check_working_directory()
        code = cli.main(words, prog_name="stable-ssl", standalone_mode=False) or 0
        return code if words[0] in WRITES_FILES else exit_code_of_output(code)
    except click.Abort:
        return _fail("interrupted", 130)
    except click.ClickException as error:
        return _fail(usage_message(error, f"stable-ssl {words[0]}"), error.exit_code)
    except (ConfigError, RunError) as error:
        return _fail(str(error), error.exit_code)
    except (ValueError, OSError) as error:
        from ssl_launch.hydra_app.error_messages import error_message

        line = error_message(error)
        if line is None:
            raise  # a bug: the whole traceback
        return _fail(line, ConfigError.exit_code)


def _fail(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def _show_versions(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        print(", ".join(f"{package} {version}" for package, version in versions().items()))
        context.exit()


@click.group(cls=Commands)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_versions, help="Show versions."
)
def cli() -> None:
    """Self-supervised learning. RUN is the folder of a run: ./RUN, or outputs/RUN."""


@cli.command(cls=HydraCommand, text=TRAIN)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_overrides)
def train(arguments: tuple[str, ...]) -> None:
    """Train a recipe: stable-ssl train NAME group.key=value ..."""
    _act_as_script("train", arguments)
    ssl_launch.launch()


@cli.command("eval", cls=HydraCommand, text=EVALUATE)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_runs)
def evaluate(arguments: tuple[str, ...]) -> None:
    """Evaluate checkpoints with a protocol: kNN, linear, ..."""
    _act_as_script("eval", arguments)
    ssl_launch.evaluate()


@cli.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=RUNS)
@click.option("--out", metavar="FOLDER", help="Where to write. Default: 'report' in the first folder.")
def report(folders: tuple[str, ...], out: str | None) -> int:
    """Compare runs: tables, figures and a page.

    RUN is a run, a folder of runs, or wandb:entity/project. Default: outputs.
    """
    return ssl_eval.cli.main(["report", *(folders or [OUTPUTS]), *(["--out", out] if out else [])], prog="stable-ssl")


@cli.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUNS)
@click.option("--checkpoints", default="newest", show_default=True, metavar="WHICH", help="newest, all, or a step.")
@click.option(
    "--layers", default=0, metavar="N", type=click.IntRange(0), help="Last N blocks or stages. Default: output."
)
@click.option(
    "--measure", "measures", multiple=True, type=Word(MEASURES), help="May be repeated. Default: three of them."
)
@click.option("--images", metavar="NAME", help="A data set or a folder. Default: evaluation images of the first run.")
@click.option("--samples", default=2000, show_default=True, metavar="N", type=click.IntRange(4), help="Images at most.")
@click.option(
    "--device", default="auto", show_default=True, type=Word(("auto", "cpu", "cuda")), help="Where to compute."
)
@click.option("--out", metavar="FOLDER", help="Where to write. Default: 'compare' in the first run.")
def compare(runs: tuple[str, ...], measures: tuple[str, ...], out: str | None, **options: Any) -> None:
    """Compare representations of the same images: linear CKA, ...

    \b
    RUN           a run, a quoted pattern of runs, or the file of a checkpoint
    linear_cka    centred kernel alignment; debiased_cka: for few images
    mutual_knn    share of the 10 nearest neighbours in common
    procrustes    after the best rotation

    Printed as matrices, drawn as figures; the numbers are in similarity.json.
    """
    from ssl_launch.commands import compare as command

    asked = command.Compared(measures=measures or command.DEFAULT_MEASURES, **options)
    print(*command.compare(runs, asked, out), sep="\n")


@cli.command(cls=HydraCommand, text=VIEWS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_overrides)
def views(arguments: tuple[str, ...]) -> None:
    """Draw what a model will see."""
    _act_as_script("views", arguments)
    from ssl_launch.commands.views import show_views

    show_views()


@cli.command("data", cls=HydraCommand, text=DATA_HELP)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_overrides)
def describe_data(arguments: tuple[str, ...]) -> None:
    """Describe a data set: classes, sizes, unreadable files, duplicates."""
    _act_as_script("data", arguments)
    from ssl_launch.commands.views import show_data

    show_data()


@cli.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=RUNS)
@click.option("--every", default=2.0, show_default=True, metavar="SECONDS", help="Time between two updates.")
@click.option("--once", is_flag=True, help="Print once and stop.")
def watch(folders: tuple[str, ...], every: float, once: bool) -> int:
    """Show running experiments, live in the terminal.

    RUN is a run or a folder of runs. Default: outputs. Ctrl-C ends it.
    """
    words = ["watch", *(folders or [OUTPUTS]), "--every", str(every), *["--once"] * once]
    return ssl_eval.cli.main(words, prog="stable-ssl")


@cli.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=RUNS)
@click.option(
    "--sort",
    default="folder",
    show_default=True,
    metavar="BY",
    type=Word(SORTS),
    help=f"{', '.join(SORTS)} (best first).",
)
@JSON
def ls(folders: tuple[str, ...], sort: str, as_json: bool) -> None:
    """List runs: status, best metric, age.

    \b
    RUN     a run or a folder of runs. Default: outputs
    status  running; silent (another machine, no sign for ten minutes);
            killed (its process is gone: stable-ssl resume continues it);
            preempted, failed, finished
    best    of optim.monitor, else of the first accuracy (in percent)
    age     since one of its files was written
    """
    print_runs(folders, sort, as_json)


@cli.command()
@click.argument("run", type=RUN)
@click.option(
    "--from-scratch", is_flag=True, help="Train it again, in RUN-again: the same weights on the same machine."
)
@METHOD
@DATA
def resume(run: str, from_scratch: bool, method: str | None, data: str | None) -> None:
    """Resume an interrupted, killed or failed run from its folder.

    Configuration, number of threads, working directory and the file of a user-defined method are recorded in the run folder.
    One line shows what has changed since the run began.
    """
    from ssl_launch.cli.resume import resume

    resume(run, from_scratch, method, data)


@cli.command()
@click.argument("run", type=RUN)
@click.option("--step", type=int, metavar="N", help="The optimizer step. Default: the step at which the run diverged.")
@METHOD
@DATA
def replay(run: str, step: int | None, method: str | None, data: str | None) -> int:
    """Repeat one step of a run and show what happened in it."""
    from ssl_core.diagnostics.replay import main

    options = {"--step": step, "--method": method, "--data": data}
    return main([run, *(str(word) for name, value in options.items() if value is not None for word in (name, value))])


@cli.command()
@click.argument("run", type=RUN)
@click.option("--out", metavar="FILE", help="Default: backbone.safetensors in the run folder.")
def export(run: str, out: str | None) -> None:
    """Write the backbone of a run as a safetensors file."""
    from ssl_core.checkpoint.export import export_backbone, read_metadata

    path = export_backbone(run, out)
    metadata = read_metadata(path)
    print(f"{path}: {metadata.get('backbone', 'a user-defined backbone')}, step {metadata['step']}")


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def convert(arguments: tuple[str, ...]) -> int:
    """Convert a data set to an FFCV file (.beton)."""
    return ssl_data.cli.main(["convert", *arguments], "stable-ssl", "convert")


@cli.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUNS)
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="For each request to the server.")
def sync_wandb(runs: tuple[str, ...], timeout: float) -> int:
    """Upload runs, or what is missing of them, to wandb."""
    return sync(runs, timeout)


@cli.command()
@click.option(
    "--folder", default=OUTPUTS, show_default=True, metavar="FOLDER", help="Of the runs; its disk is checked."
)
@JSON
def doctor(folder: str, as_json: bool) -> int:
    """Check this machine, and show what to fix.

    \b
    ok     as it should be
    could  a run works without it; what it would bring, and how
    must   a run would fail or waste the machine; how to fix it

    Exit code: 1 if there is a must, else 0.
    """
    return print_findings(Path(folder), as_json)


@cli.command("list")
@click.argument("kind", metavar=f"[{'|'.join(KINDS)}]", required=False, type=Word(KINDS))
@JSON
def list_names(kind: str | None, as_json: bool) -> None:
    """List methods, backbones, losses, datasets or recipes."""
    print_catalog([kind] if kind else KINDS, as_json)


def _act_as_script(name: str, arguments: Sequence[str]) -> None:
    """Set ``sys.argv`` to that of a script in the working directory, whose ``configs/`` are found."""
    sys.argv = [str(Path.cwd() / f"stable-ssl {name}"), *arguments]


if __name__ == "__main__":
    sys.exit(main())
