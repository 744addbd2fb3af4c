"""Views that are made by functions: of the user, or pipelines of torchvision, albumentations and kornia."""

import contextlib
import hashlib
import inspect
import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_data.augment.seeding import seed_generators

SAMPLE = 2**12 - 2  # in the place of a view's number: random transforms of the data set draw other numbers than a view
_TO_TENSOR = "end a pipeline of torchvision with v2.ToImage(), v2.ToDtype(torch.float32, scale=True)"


class SampleError(ValueError):
    """A sample whose views cannot be made. The message names the sample, the cause, and the line of the user's code."""


class FunctionView:
    """One view of a sample, made by a function. All generators are seeded before each call.

    Parameters
    ----------
    function : callable
        ``function(sample, generator)`` with a ``torch.Generator`` if it takes two arguments, else ``function(sample)``,
        such as a pipeline of torchvision: those draw from the global generators. A pipeline of albumentations is called
        with ``image=`` and the pixels of the sample. It returns a tensor or an array of floating point, or a list of them,
        each a view.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._albumentations = hasattr(function, "set_random_seed")  # they have generators of their own
        self._takes_generator = not self._albumentations and _takes_two(function)
        self._only_torch = _draws_from_torch_only(function)
        self._generator = torch.Generator() if self._takes_generator else None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_generator": None}  # a generator cannot be sent to a process

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _generator=torch.Generator() if state["_takes_generator"] else None)

    def __call__(self, sample: Any, key: int) -> list[Tensor]:
        """Return the view with the seed ``key``, or the views if the function returns several, as float32.

        Raises
        ------
        ValueError
            If the result is not of floating point.
        """
        seed_generators(key, self._only_torch)
        if self._generator is not None:
            made = self.function(_copied(sample), self._generator.manual_seed(key))
        elif self._albumentations:
            function: Any = self.function
            function.set_random_seed(key & 0xFFFFFFFF)
            made = function(image=np.array(sample))["image"]
        else:
            made = self.function(_copied(sample))
        several = isinstance(made, list | tuple)
        return [self._tensor(each) for each in (made if several else [made])]

    def _tensor(self, made: Any) -> Tensor:
        if isinstance(made, np.ndarray) and made.dtype.kind == "f":
            made = torch.from_numpy(np.ascontiguousarray(made))
        # Calls of a subclass of Tensor, such as those of torchvision, take ten times as long
        plain = made.as_subclass(Tensor) if isinstance(made, Tensor) else None
        if plain is not None and plain.is_floating_point():
            return plain.detach().float()
        hint = f"; {_TO_TENSOR}" if isinstance(made, Image.Image | Tensor | np.ndarray) else ""
        raise ValueError(
            f"the function returned {described(made)}: expected a tensor or an array of floating point{hint}"
        )


def identity(sample: Any) -> Any:
    """Return a sample unchanged: the evaluation view of samples that are tensors or arrays of floating point."""
    return sample


def is_ready(sample: Any) -> str | None:
    """Return None for a sample that can be a view unchanged; else a description of it."""
    if isinstance(sample, Tensor):
        return None if sample.is_floating_point() else described(sample)
    return None if isinstance(sample, np.ndarray) and sample.dtype.kind == "f" else described(sample)


def make_views(
    functions: Sequence[FunctionView], read: Callable[[], Any], seeds: Sequence[int], index: int, where: str
) -> list[Tensor]:
    """Return the views of a sample.

    Parameters
    ----------
    functions : sequence of FunctionView
        One or more.
    read : callable
        Returns the sample. It is called once, after the generators are seeded: random transforms of a data set are functions
        of (seed, epoch, index), too.
    seeds : sequence of int
        One of each function, then that of the sample: :func:`~ssl_data.augment.seeding.view_seeds`.
    index : int
        Id of the sample, for errors.
    where : str
        Name of the data set, for errors.

    Raises
    ------
    SampleError
        For any error in ``read`` or a function.
    """
    doing = "reading it"
    try:
        seed_generators(seeds[-1])
        sample = read()
        views = []
        for number, function in enumerate(functions):
            doing = f"view {number}"
            views += function(sample, seeds[number])
        return views
    except Exception as error:
        raise SampleError(f"{where}: sample {index}: {doing}: {_cause(error)}") from error


def describe_function(function: Any) -> str:
    """Return a text that changes when a function does: its name, and a digest of its source or of what a pipeline prints."""
    if inspect.isroutine(function):
        name, text = function.__qualname__, ""
        with contextlib.suppress(OSError, TypeError):
            text = inspect.getsource(function)
    else:
        name, text = type(function).__qualname__, re.sub(r" at 0x[0-9a-f]+", "", repr(function))
    return f"{name}, sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def described(value: Any) -> str:
    """Return type, shape and dtype of a value, for a message."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, Tensor) else "an array"
        return f"{kind} {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Image.Image):
        return f"a PIL image {value.size[0]} x {value.size[1]} of mode {value.mode}"
    return "None" if value is None else f"a {type(value).__name__}"


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a function takes a sample and a generator: two arguments by position without a default."""
    called = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return False
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in by_position and each.default is each.empty for each in parameters) == 2


def _draws_from_torch_only(part: Any) -> bool:
    """Return whether a part of a pipeline consists of transforms of torchvision v2: they draw from torch's generator alone."""
    if isinstance(part, list | tuple | dict):
        return all(map(_draws_from_torch_only, part.values() if isinstance(part, dict) else part))
    if type(part).__module__.startswith("torchvision.transforms.v2."):
        return _draws_from_torch_only(vars(part))  # that of a v2.Lambda has the user's function
    return not callable(part)


def _copied(sample: Any) -> Any:
    """Return a copy of a tensor or an array: a function may change it in place, and the next view starts from it, too."""
    if isinstance(sample, Tensor):
        return sample.clone()
    return sample.copy() if isinstance(sample, np.ndarray | dict) else sample


def _cause(error: BaseException) -> str:
    """Return type and message of an error with the line of code that raised it; only the message of our own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = frames[-1]
    if isinstance(error, ValueError) and own.filename.startswith(__file__.rpartition("augment")[0]):
        return str(error)
    return f"{type(error).__name__}: {error} ({own.filename}, line {own.lineno}, in {own.name})"
