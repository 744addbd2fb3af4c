"""What every command line of ours is to Hydra: where configurations are looked for, what is called, how errors are said."""

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
    """Compose the command line and act on it, here or in jobs; end with one line and an exit code where it is refused.

    Parameters
    ----------
    config_name : str
        Of the configuration without ``--config-name``. It is looked for in ``configs/`` beside the calling script, then
        among the embedded ones.
    help_text : str
        What ``--help`` shows; PROGRAM in it is what was typed, ``main.py`` or ``stable-ssl train``.
    act : Callable
        Takes what was composed; called once for each member of a sweep, in the job where there is one.
    complain : Callable
        Returns the line to show for an error; None where the traceback is what helps.
    show : Callable
        Takes what was composed and returns the whole configuration, defaults included: what ``--cfg job`` prints.
    prepare : Callable
        Takes the tidied arguments and returns those that Hydra reads.
    configured : Callable, optional
        Takes what was composed for a member of a sweep and returns the configuration of its run. With it, a sweep is one
        process for each member, side by side; without, they are acted on one after the other in this process.
    method : type, optional
        One's own, of all those runs.
    options : Mapping, optional
        Option of this command, with a value -> key of the configuration that it sets.
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
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us instead of to Hydra's printer
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
                _refuse_to_stay()
            return print_configuration(composed) if shows else act(composed)
        except Exception as error:
            line = complain(error)
            if line is None or not alone:
                raise  # a sweep's launcher must see it: the other members go on
            exit_with_message(line, getattr(error, "exit_code", 2))

    shows = False
    try:
        options = options or {}
        arguments = normalize_arguments(options_as_keys(sys.argv[1:], options), script.parent)
        arguments, shows = without_cfg_job(arguments)
        prepared = prepare(arguments)
        check_arguments(prepared, sys.argv[1:], keys, options)
        if shows:  # of several jobs, what they share
            sys.argv[1:] = [*(arguments if "-m" in prepared else prepared), "hydra.mode=RUN"]
        else:
            sys.argv[1:] = with_multirun(prepared)
        launched: Any = task
        launched.method = method
        launched.configured, launched.command = configured, [*program, *options_of_a_run(sys.argv[1:])]
        entry(task)()
    except Exception as error:
        line = complain(error) or _of_hydra(error)
        if line is None:
            raise  # somebody's bug: the whole traceback
        exit_with_message(line, getattr(error, "exit_code", 2))
    except KeyboardInterrupt as stopped:
        exit_with_message(str(stopped) or "interrupted", 130)


def _refuse_to_stay() -> None:
    """Raise where a launcher was named and the command would all the same act here, on the login node of a cluster, say."""
    launcher = HydraConfig.get().runtime.choices.get("hydra/launcher")
    if launcher not in (None, *HERE):
        raise ConfigError(f"hydra/launcher={launcher}: it submits, and hydra.mode=RUN does not; leave one of them out")


def _of_hydra(error: BaseException) -> str | None:
    """Return the line for a disk that refuses what Hydra writes by itself: the folder of a sweep, and the file in it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "ssl_" in frame.filename and frame.filename != __file__]
    if not isinstance(error, OSError) or ours:
        return None
    return (
        f"log.folder: nothing can be written to '{error.filename}': {error.strerror}; choose another with "
        "++log.folder=FOLDER"
    )
