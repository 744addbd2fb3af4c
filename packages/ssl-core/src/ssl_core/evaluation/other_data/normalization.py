"""Mean and deviation by which the images of other data are normalised."""

from typing import Any

from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder


def normalization(run: RunFolder, how: Any, group: str, channels: int) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel: those of the options ``mean`` and ``std``, or those of the run.

    Parameters
    ----------
    run : RunFolder
        The run.
    how : dataclass
        Options with ``mean`` and ``std``, a list or None.
    group : str
        The name of the options in messages, such as ``"eval.dense"``.
    channels : int
        Number of channels of the images of the run.

    Raises
    ------
    ConfigError
        If neither has them, or they are not a number for each channel.
    """
    summary = run.read_summary()
    found: list[Any] = [getattr(how, name) or summary.get(name) for name in ("mean", "std")]
    for name, values in zip(("mean", "std"), found):
        if not values:
            raise ConfigError(
                f"the run has not recorded the {name} of its images",
                key=f"{group}.{name}", value=None, expected="a list with a number for each channel, e.g. [0.5,0.5,0.5]",
            )  # fmt: skip
        if len(values) != channels:
            expected = (
                f"{channels} {'number' if channels == 1 else 'numbers'}, one for each channel of the run's images"
            )
            raise ConfigError(key=f"{group}.{name}", value=values, expected=expected)
    return found[0], found[1]
