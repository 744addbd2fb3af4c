"""``stable-ssl resume FOLDER``: a run gone on with, or done again, from its folder alone."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_core.distributed.launch_environment import LaunchEnvironment
from ssl_core.errors import ConfigError
from ssl_core.run.environment import MAX_PER_PROCESSOR, environment_diff_of_run, num_processors
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import changed_code, class_of_run
from ssl_eval.run_record import ENDED_WELL
from ssl_launch.cli.parser import CommandParser, folder

DESCRIPTION = """Go on with a run that was interrupted, preempted or killed, or has failed.

It needs nothing but the folder: configuration, number of threads, the folder
where the command was given and the file of a method of your own, which is run,
are recorded in it. One line says what is not as it was when the run began."""


def main(arguments: Sequence[str]) -> int:
    """Train; return the exit code."""
    from ssl_launch.hydra_app.error_messages import error_message, exit_with_message

    chosen = _parser().parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # as training does, through Hydra
    try:
        return resume(chosen.folder, chosen.from_scratch, chosen.method, chosen.data)
    except Exception as error:
        line = error_message(error)
        if line is None:
            raise  # somebody's bug: the whole traceback
        exit_with_message(line, getattr(error, "exit_code", 2))


def _parser() -> CommandParser:
    parser = CommandParser("resume", DESCRIPTION)
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="the run")
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="train it again, in FOLDER-again: the same weights on the same machine",
    )
    parser.add_argument("--method", metavar="FILE.py:Class", help="the method, where its file has moved")
    parser.add_argument("--data", metavar="FILE.py:Class", help="the data configuration, likewise")
    return parser


def options() -> list[str]:
    """Return the options, for the shell's completion."""
    return _parser().options()


def resume(path: Any, from_scratch: bool = False, method: str | None = None, data: str | None = None) -> int:
    """Go on with a run in this process, or train it again in a new folder beside it.

    Parameters
    ----------
    path : str or Path
        The run folder.
    from_scratch : bool
        Whether to train it again, in ``<folder>-again``. That, too, goes on where it was stopped.
    method, data : str, optional
        ``FILE.py:Class``, where it is not the one that the run has recorded.

    Returns
    -------
    int
        0, also for a run that had finished.

    Raises
    ------
    ConfigError, RunError
        If the folder is no run, its method cannot be found, or it cannot go on.
    """
    run = RunFolder(Path(path).resolve())
    if not run.config.is_file():
        raise ConfigError(f"'{path}' is no run: it has no config.yaml; stable-ssl ls lists runs")
    summary = run.read_summary()
    if summary.get("status") in ENDED_WELL and not from_scratch:
        print(
            f"'{path}' has finished: epoch {summary.get('epoch')}, step {summary.get('step')}; --from-scratch trains it "
            f"again{''.join(f', with changed code: {file!r}' for file in changed_code(summary))}",
            flush=True,
        )
        return 0
    classes = [class_of_run(what, named, summary, run.path) for what, named in (("method", method), ("data", data))]
    kind, config = read_config(run, *classes)
    if os.path.isdir(summary.get("directory", "")):
        os.chdir(summary["directory"])  # relative paths of the configuration begin there, and git is asked there
    if os.environ.get("RANK", "0") == "0":
        differences = environment_diff_of_run(run, LaunchEnvironment.read().world_size)
        said = "; ".join(differences) or "versions, code, processor and threads are as they were"
        print(f"'{path}': {said}", file=sys.stderr, flush=True)
    # sums depend on how they are split
    threads = summary.get("threads", config.hardware.num_threads)
    config.hardware.num_threads = min(threads, MAX_PER_PROCESSOR * num_processors())  # the machine may be a smaller one
    if from_scratch:
        config.log.run = f"{run.path.name}-again"
    from ssl_core.evaluation.final_report import fit_and_report

    fit_and_report(kind(config))
    return 0
