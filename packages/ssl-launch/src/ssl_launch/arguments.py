"""The command line, tidied before Hydra reads it."""

from pathlib import Path

_MULTIRUN = ("-m", "--multirun")
_CONFIG_PATH = ("--config-path", "-cp")


def tidy_arguments(arguments: list[str], script_folder: Path) -> list[str]:
    """Return the arguments with ``-m`` in front and ``--config-path`` absolute.

    Hydra 1.3 takes ``-m`` only before or after all overrides, and reads a relative ``--config-path`` from the module
    that holds its task function, which is ours; a user means the working directory, or that of the script.

    Examples
    --------
    >>> tidy_arguments(["optim.lr=1", "-m", "optim.epochs=2,3"], Path("."))
    ['-m', 'optim.lr=1', 'optim.epochs=2,3']
    """
    front = [argument for argument in arguments if argument in _MULTIRUN][:1]
    rest = [argument for argument in arguments if argument not in _MULTIRUN]
    tidied: list[str] = []
    for position, argument in enumerate(rest):
        name, equals, value = argument.partition("=")
        if name in _CONFIG_PATH and equals:
            argument = f"{name}={_absolute(value, script_folder)}"
        elif position and rest[position - 1] in _CONFIG_PATH:
            argument = _absolute(argument, script_folder)
        tidied.append(argument)
    return front + tidied


def _absolute(folder: str, script_folder: Path) -> str:
    here = Path(folder)
    return str((here if here.is_dir() else script_folder / here).absolute())
