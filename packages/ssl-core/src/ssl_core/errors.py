"""The errors of ssl-core. Each has the exit code of the command line."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_message = logging.getLogger(__name__)


class _OneLine:
    """An error whose message is enough: a notebook shows it without a traceback, as the command line does."""

    def _render_traceback_(self) -> list[str]:  # called by IPython
        return [f"{type(self).__name__}: {self}"]


class ConfigError(_OneLine, ValueError):
    """An unknown key, a wrong value or a combination of values that is not allowed. Exit code 2.

    Parameters
    ----------
    reason : str
        What is wrong, where ``expected`` does not say it; without ``key``, the whole sentence.
    key : str
        The key, e.g. ``"optim.lr"``.
    value : Any
        The received value. Default: none is shown.
    expected : str or sequence of str
        What is allowed; a sequence holds the names to choose from.
    suggestion : str, optional
        The nearest valid key or value.

    Attributes
    ----------
    reason, key, value, expected, suggestion
        As given; without a value, ``value`` is ``...``.

    Examples
    --------
    >>> print(ConfigError(key="optim.lr", value=-1.0, expected="a number, at least 0"))
    optim.lr=-1.0: expected a number, at least 0
    >>> print(ConfigError(key="hardware.device", value="CPU", expected=["cpu", "cuda"], suggestion="cpu"))
    hardware.device='CPU': expected one of 'cpu', 'cuda'; did you mean 'cpu'?
    >>> print(ConfigError("unknown key", key="optim.lrr", suggestion="optim.lr"))
    optim.lrr: unknown key; did you mean 'optim.lr'?
    """

    exit_code = 2

    def __init__(
        self,
        reason: str = "",
        *,
        key: str = "",
        value: Any = ...,
        expected: str | Sequence[str] = "",
        suggestion: str | None = None,
    ) -> None:
        self.reason, self.key, self.value, self.expected, self.suggestion = reason, key, value, expected, suggestion
        choices = expected if isinstance(expected, str) else f"one of {', '.join(map(repr, expected))}" * bool(expected)
        parts = [
            reason,
            f"expected {choices}" if choices else "",
            f"did you mean {suggestion!r}?" if suggestion else "",
        ]
        subject = key if value is ... else f"{key}={str(value).lower() if isinstance(value, bool) else repr(value)}"
        super().__init__(f"{subject}: " * bool(key) + "; ".join(filter(None, parts)))

    @classmethod
    def raise_first(cls, errors: "Sequence[ConfigError]") -> None:
        """Raise the first of the errors, if there is one; its sentence names the keys of the others."""
        if errors:
            first, *others = errors
            if others:
                first.args = (f"{first} (and {len(others)} more: {', '.join(each.key for each in others)})",)
            raise first


class RunError(_OneLine, RuntimeError):
    """A run cannot continue, for the reason in the message. The exit code is 1, or that of a subclass."""

    exit_code = 1


class MethodError(RunError):
    """A user-defined method returns something that its base class cannot use. Exit code 1."""


class RunFolderError(RunError):
    """The run folder belongs to another configuration, or cannot be used. Exit code 2."""

    exit_code = 2

    @classmethod
    def unwritable(cls, folder: Path, error: OSError) -> "RunFolderError":
        """Return the error for a run folder that cannot be written."""
        return cls(
            f"log.folder: the run folder '{folder}' cannot be written: {error.strerror}; choose another with "
            "log.folder=FOLDER"
        )


class DiskError(RunError, OSError):
    """A file of the run cannot be written: disk full, over quota, read-only, gone. Exit code 74.

    Earlier files are intact.
    """

    exit_code = 74  # EX_IOERR of sysexits.h

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.strerror = reason


class CheckpointError(RunError):
    """The run folder has checkpoints, but none of them can be read. Exit code 3."""

    exit_code = 3


class DivergedError(RunError):
    """The loss, a gradient or a weight is not finite. Exit code 4.

    ``record`` is the contents of ``diverged.json``.
    """

    exit_code = 4

    def __init__(self, sentence: str, record: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.record = record


class RankLostError(RunError):
    """Another rank has ended, so that this one cannot continue."""


class Preempted(RunError):
    """A signal stopped the run; the state is saved, and the same command resumes. Exit code 75."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


@contextlib.contextmanager
def warn_on_error(what: str, advice: str) -> Iterator[None]:
    """Log an exception as a warning and continue: for optional work during or after training.

    Signals and Ctrl-C pass. The traceback is logged at the level debug.

    Parameters
    ----------
    what : str
        What failed, the beginning of the sentence.
    advice : str
        What this means and what can be done.
    """
    try:
        yield
    except Preempted:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        kind = "" if isinstance(error, ConfigError | RunError) else f"{type(error).__name__}: "
        _message.warning("%s: %s%s; %s", what, kind, reason, advice)
        _message.debug("%s", what, exc_info=True)


def describe(value: Any) -> str:
    """Return a value in words for an error: shape and dtype of a tensor, a number, or the type of anything else.

    Examples
    --------
    >>> import torch
    >>> describe(torch.zeros(2, 3)), describe(torch.tensor(1)), describe(0.5), describe([]), describe(None)
    ('a float32 tensor (2, 3)', 'a scalar of int64', '0.5', 'a list', 'None')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):  # without importing torch
        dtype = str(value.dtype).removeprefix("torch.")
        kind = "array" if type(value).__module__ == "numpy" else "tensor"
        return f"a {dtype} {kind} {tuple(value.shape)}" if len(value.shape) else f"a scalar of {dtype}"
    return repr(value) if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"
