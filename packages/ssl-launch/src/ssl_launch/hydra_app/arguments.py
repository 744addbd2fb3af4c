"""Normalize the command line before Hydra parses it."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from ssl_core.config.suggestion import close_names, unknown_key
from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError
from ssl_launch.hydra_app.override_syntax import check_overrides, quoted

WITH_VALUE = {"--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd", "--cfg", "-c", "--package", "-p"}
_CONFIG_PATH = {"--config-path", "-cp"}
# Options of Hydra that would unpickle a file, or install its own completion instead of that of stable-ssl
_NOT_OFFERED = {"--experimental-rerun", "--shell-completion", "-sc"}


def options_as_keys(arguments: list[str], keys: Mapping[str, str]) -> list[str]:
    """Return the arguments with the options of a command, which have a value, as keys of its configuration.

    Raises
    ------
    ConfigError
        For an option without its value.

    Examples
    --------
    >>> options_as_keys(["run=x", "--method", "my idea.py:MyIdea"], {"--method": "method_class"})
    ['run=x', 'method_class="my idea.py:MyIdea"']
    """
    found: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        if name not in keys:
            found.append(argument)
            continue
        if not equals and not waiting:
            raise ConfigError(key=name, expected="a value after it")
        found.append(f"{keys[name]}={quoted(value if equals else waiting.pop(0))}")
    return found


def normalize_arguments(arguments: list[str], script_folder: Path) -> list[str]:
    """Return the arguments with all options in front and ``--config-path`` absolute.

    Hydra 1.3 does not accept options such as ``-m`` between overrides, and resolves a relative ``--config-path`` from the
    module of its task function, which is ours; a user means the working directory, or that of the script.

    Examples
    --------
    >>> normalize_arguments(["optim.lr=1", "-m", "optim.epochs=2,3", "--config-name", "mine"], Path("."))
    ['-m', '--config-name', 'mine', 'optim.lr=1', 'optim.epochs=2,3']
    """
    options: list[str] = []
    overrides: list[str] = []
    waiting = ""  # the option whose value comes next
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if waiting:
            options.append(_absolute(argument, script_folder) if waiting in _CONFIG_PATH else argument)
            waiting = ""
        elif name in _CONFIG_PATH and equals:
            options.append(f"{name}={_absolute(value, script_folder)}")
        elif argument.startswith("-"):
            options.append(argument)
            waiting = name if name in WITH_VALUE and not equals else ""
        else:
            overrides.append(argument)
    return options + overrides


def options_of_a_run(arguments: list[str]) -> list[str]:
    """Return the options of normalized arguments that all members of a sweep share: all but ``-m``.

    Examples
    --------
    >>> options_of_a_run(["-m", "--config-name", "mine", "optim.lr=1,2"])
    ['--config-name', 'mine']
    """
    options: list[str] = []
    waiting = False  # for an option's value
    for argument in arguments:
        if not waiting and not argument.startswith("-"):
            break  # the first override
        if argument not in ("-m", "--multirun"):
            options.append(argument)
        waiting = not waiting and argument in WITH_VALUE
    return options


def check_arguments(
    arguments: list[str], typed: list[str], keys: Callable[[], Iterable[str]], own: Collection[str] = ()
) -> None:
    """Raise for an unknown option, an option without its value, and an override that Hydra cannot read.

    Parameters
    ----------
    arguments, typed : list of str
        The normalized arguments, and those of the command line.
    keys : Callable
        Returns the keys of the command's configuration: for ``--lr 0.1``, ``optim.lr=0.1`` is suggested.
    own : collection of str
        The options of the command that have become keys; they are suggested.

    Raises
    ------
    ConfigError
        Naming the argument, and the one that was probably meant.
    """
    parser = get_args_parser()
    parser.allow_abbrev = False
    known = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    known = {"--watch", *known, *own} - _NOT_OFFERED

    def raise_error(message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.+)\)", message)
        hint = suggest_key(choice[1], re.findall(r"\w+", choice[2])) if choice else ""
        raise ConfigError(f"{message.partition(' (choose')[0]}{hint}")

    parser.error = raise_error  # type: ignore[method-assign]
    given = [each for each in arguments if each != "--watch"]  # an option of eval.py, which replaces it by watch=true
    hidden = [each for each in given if each.partition("=")[0] in _NOT_OFFERED]
    chosen, unknown = parser.parse_known_args([each for each in given if each not in hidden])
    for option in (*hidden, *unknown):
        name = option.partition("=")[0]
        suggestion = _as_key(option, typed, keys())
        if suggestion:
            raise ConfigError("unknown option", key=name, expected="a key without dashes", suggestion=suggestion)
        raise unknown_key(name, known, "unknown option")
    check_overrides(chosen.overrides)


def _as_key(option: str, typed: list[str], keys: Iterable[str]) -> str:
    """Return ``key=value`` for an option with the name of a key, or an empty string."""
    name, equals, value = option.lstrip("-").partition("=")
    named = {key.rpartition(".")[2]: key for key in sorted(keys)} | {key: key for key in keys}
    near = close_names(name.replace("-", "_"), named, cutoff=0.85)
    if not near:
        return ""
    following = typed[typed.index(option) + 1 :][:1] if option in typed else []
    value = value if equals else next((each for each in following if not each.startswith("-") and "=" not in each), "")
    return f"{named[near[0]]}={value or 'VALUE'}"


def without_cfg_job(arguments: list[str]) -> tuple[list[str], bool]:
    """Return normalized arguments without ``--cfg job``, and whether it was there: Hydra's output lacks our defaults.

    Examples
    --------
    >>> without_cfg_job(["--cfg", "job", "--resolve", "-m", "optim.lr=1"])
    (['optim.lr=1'], True)
    >>> without_cfg_job(["--cfg=hydra", "optim.lr=1"])
    (['--cfg=hydra', 'optim.lr=1'], False)
    """
    told = " ".join(arguments)
    found = re.search(r"(?:^| )(?:--cfg|-c)[ =]job(?= |$)", told)
    if not found or "--package" in told:
        return arguments, False
    flags = {*found[0].split(), "--resolve", "-m", "--multirun"}
    return [each for each in arguments if each not in flags], True


def with_multirun(arguments: list[str]) -> list[str]:
    """Return normalized arguments with ``-m`` in front if they name a sweeper.

    Hydra composes once to find the mode, ignores any error, and then reports the values of a sweep as an error.

    Examples
    --------
    >>> with_multirun(["hydra/sweeper=optuna", "hydra.sweeper.n_trials=two"])
    ['-m', 'hydra/sweeper=optuna', 'hydra.sweeper.n_trials=two']
    """
    keys = {each.lstrip("+").partition("=")[0] for each in arguments}
    sweeps = "hydra/sweeper" in keys and not keys & {"-m", "--multirun", "hydra.mode", "-c", "--cfg"}
    return ["-m", *arguments] if sweeps else arguments


def _absolute(folder: str, script_folder: Path) -> str:
    here = Path(folder)
    return str((here if here.is_dir() else script_folder / here).absolute())
