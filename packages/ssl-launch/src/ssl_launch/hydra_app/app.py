"""Run a command of the Hydra application: compose the configuration, act on it, and report errors as one line."""

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_eval.output_stream import protect_output
from ssl_launch.hydra_app.arguments import complete_arguments, parse_arguments, to_words
from ssl_launch.hydra_app.build_config import every_key
from ssl_launch.hydra_app.defaults import HERE, register_defaults
from ssl_launch.hydra_app.error_messages import EMBEDDED, error_message, exit_with_message
from ssl_launch.run_path import check_working_directory


def run_command(
    config_name: str,
    help_text: str,
    act: Callable[[DictConfig], Any],
    show: Callable[[DictConfig], dict[str, Any]],
    prepare: Callable[[Namespace], None],
    configured: Callable[[DictConfig], Config] | None = None,
    method: type | None = None,
    options: Mapping[str, str] | None = None,
    keys: Callable[[], Iterable[str]] = every_key,
) -> None:
    """Compose the command line and act on it, in this process or in jobs. An error of the user ends it with one line.

    Parameters
    ----------
    config_name : str
        The configuration without ``--config-name``. It is searched for in ``configs/`` next to the calling script, then
        among the embedded configurations.
    help_text : str
        The output of ``--help``; PROGRAM in it becomes ``main.py`` or ``stable-ssl train``.
    act : Callable
        Takes the composed configuration; called once for each member of a sweep, in its job if there is one.
    show : Callable
        Takes the composed configuration and returns it with all defaults, for ``--cfg job``.
    prepare : Callable
        Changes the parsed arguments: replaces words that are not ``key=value``.
    configured : Callable, optional
        Takes the composed configuration of a member of a sweep and returns the configuration of its run. With it, a sweep
        runs each member in a process; without, all members run one after the other in this process.
    method : type, optional
        The user-defined method of all these runs.
    options : Mapping, optional
        As in :func:`~ssl_launch.hydra_app.arguments.parse_arguments`.
    keys : Callable
        Returns the keys of the command's configuration, for suggestions.
    """
    protect_output()
    try:
        check_working_directory()
    except ConfigError as error:
        exit_with_message(str(error), error.exit_code)
    script = Path(sys.argv[0]).absolute()
    beside = script.parent / "configs"
    program = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    default = "basic" if configured is None else "side_by_side"
    register_defaults(script.stem.rpartition(" ")[2], help_text.replace("PROGRAM", script.name), default)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them
    shows = False

    def task(composed: DictConfig) -> Any:
        alone = HydraConfig.get().mode is hydra.types.RunMode.RUN
        try:
            if shows:
                return print(yaml.safe_dump(show(composed), sort_keys=False, allow_unicode=True), end="")
            if alone:
                _check_submits()
            return act(composed)
        except Exception as error:
            line = error_message(error, keys)
            if line is None or not alone:
                raise  # a sweep's launcher handles it and continues with the other members
            exit_with_message(line, getattr(error, "exit_code", 2))

    launched: Any = task
    launched.method, launched.configured = method, configured
    folder = str(beside if beside.is_dir() else EMBEDDED)
    try:
        arguments = parse_arguments(sys.argv[1:], options or {}, keys)
        shows = arguments.cfg == "job" and not arguments.package  # Hydra's own output lacks our defaults
        prepare(arguments)
        complete_arguments(arguments, script.parent)
        if shows:
            arguments.cfg = arguments.resolve = arguments.multirun = None
            arguments.overrides.append("hydra.mode=RUN")
        sys.argv[1:] = to_words(arguments)
        of_a_run = Namespace(**{**vars(arguments), "multirun": False, "overrides": []})
        launched.command = [*program, *to_words(of_a_run)]
        hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(task)()
    except Exception as error:
        line = error_message(error, keys) or _disk_message(error)
        if line is None:
            raise  # a bug: the whole traceback
        exit_with_message(line, getattr(error, "exit_code", 2))
    except KeyboardInterrupt as stopped:
        exit_with_message(str(stopped) or "interrupted", 130)


def _check_submits() -> None:
    """Raise a ConfigError if a launcher is named but the command would run here, e.g. on the login node of a cluster."""
    launcher = HydraConfig.get().runtime.choices.get("hydra/launcher")
    if launcher not in (None, *HERE):
        raise ConfigError(
            "the launcher submits jobs, hydra.mode=RUN does not",
            key="hydra/launcher",
            value=launcher,
            expected="one of the two",
        )


def _disk_message(error: BaseException) -> str | None:
    """Return the line for a disk error when Hydra itself writes: the folder of a sweep and the file in it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "ssl_" in frame.filename and frame.filename != __file__]
    if not isinstance(error, OSError) or ours:
        return None
    return (
        f"log.folder: cannot write '{error.filename}': {error.strerror}; choose another folder with log.folder=FOLDER"
    )
