"""Run a command of the Hydra application: compose the configuration, act on it, and report errors as one line."""

import os
import sys
import traceback
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
from ssl_launch.hydra_app.arguments import (
    check_arguments,
    normalize_arguments,
    options_as_keys,
    options_of_a_run,
    with_multirun,
    without_cfg_job,
)
from ssl_launch.hydra_app.build_config import every_key
from ssl_launch.hydra_app.defaults import HERE, register_defaults
from ssl_launch.hydra_app.error_messages import EMBEDDED, exit_with_message
from ssl_launch.hydra_app.working_directory import check_working_directory


def run_command(
    config_name: str,
    help_text: str,
    act: Callable[[DictConfig], Any],
    complain: Callable[[BaseException], str | None],
    show: Callable[[DictConfig], dict[str, Any]],
    prepare: Callable[[list[str]], list[str]] = lambda arguments: arguments,
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
    complain : Callable
        Returns the line to show for an error, or None for an error that needs its traceback.
    show : Callable
        Takes the composed configuration and returns it with all defaults, for ``--cfg job``.
    prepare : Callable
        Takes the normalized arguments and returns those that Hydra parses.
    configured : Callable, optional
        Takes the composed configuration of a member of a sweep and returns the configuration of its run. With it, a sweep
        runs each member in a process; without, all members run one after the other in this process.
    method : type, optional
        The user-defined method of all these runs.
    options : Mapping, optional
        Option of this command -> key of the configuration that it sets.
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
    entry = hydra.main(
        version_base="1.3",
        config_path=str(beside if beside.is_dir() else EMBEDDED),
        config_name=config_name,
    )

    def print_configuration(composed: DictConfig) -> None:
        print(yaml.safe_dump(show(composed), sort_keys=False, allow_unicode=True), end="")

    def task(composed: DictConfig) -> Any:
        alone = HydraConfig.get().mode is hydra.types.RunMode.RUN
        try:
            if alone and not shows:
                _check_submits()
            return print_configuration(composed) if shows else act(composed)
        except Exception as error:
            line = complain(error)
            if line is None or not alone:
                raise  # a sweep's launcher handles it and continues with the other members
            exit_with_message(line, getattr(error, "exit_code", 2))

    shows = False
    try:
        options = options or {}
        arguments = normalize_arguments(options_as_keys(sys.argv[1:], options), script.parent)
        arguments, shows = without_cfg_job(arguments)
        prepared = prepare(arguments)
        check_arguments(prepared, sys.argv[1:], keys, options)
        if shows:  # of several jobs, their common part
            sys.argv[1:] = [*(arguments if "-m" in prepared else prepared), "hydra.mode=RUN"]
        else:
            sys.argv[1:] = with_multirun(prepared)
        launched: Any = task
        launched.method = method
        launched.configured, launched.command = configured, [*program, *options_of_a_run(sys.argv[1:])]
        entry(task)()
    except Exception as error:
        line = complain(error) or _disk_message(error)
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
