"""Check what user-defined methods return, at the first call, so that a mistake is one sentence and not a traceback."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.batch import Batch
from ssl_core.errors import ConfigError, MethodError, RunError, describe
from ssl_core.schedules import check_schedule
from ssl_losses.checks import BatchSizeError

_LOSS = "expected a scalar tensor, or a dict of them by name; those with a gradient are summed, all are logged"

# Names that the loop logs as train/...; no term of a loss can have them
RESERVED_TERMS = ("loss", "grad_norm", "lr", "weight_decay", "images_per_second", "step", "epoch")
_PROBE_LOSS = re.compile(r"probe_.+_loss")


def check_configured(model: Any) -> None:
    """Raise a ConfigError for a model without a configuration."""
    if not hasattr(model, "config"):
        name = type(model).__name__
        raise ConfigError(f"{name}() has no configuration: expected {name}(Config(...)).fit(), or launch({name})")


def check_config_class(model: Any, config: Any) -> None:
    """Raise a ConfigError if ``config.model`` is not of the method's ``config_class``."""
    if not isinstance(config.model, model.config_class):
        raise ConfigError(
            f"model={type(config.model).__name__}(...): {type(model).__name__} expects a {model.config_class.__name__}"
        )


def check_name(model: Any, base: type, name: str, value: Any) -> None:
    """Raise a MethodError if a module, or a value, is assigned to a name that the base class uses.

    The methods of the base class ``BaseModel`` are reserved for callables, its attributes for anything but modules.
    """
    methods, attributes = _reserved_names(base)
    is_module = isinstance(value, nn.Module)
    if (name in methods and (is_module or not callable(value))) or (is_module and name in attributes):
        raise MethodError(
            f"{type(model).__name__}.{name} = {type(value).__name__}(...): '{name}' is used by BaseModel; choose another name"
        )


@cache
def _reserved_names(base: type) -> tuple[frozenset[str], frozenset[str]]:
    methods = {name for name in vars(base) if not name.startswith("__")} - {"config_class", "forward"}
    return frozenset(methods), frozenset(base.__annotations__.keys() - {"config_class"})


def check_modules(model: Any) -> None:
    """Raise an error for a parameter without a shape, or for ``log.export`` in a model without a backbone."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise MethodError(
                f"{type(model).__name__}.initialize_modules() made '{name}' lazy, and its shape is needed before the first "
                "batch: give the module its input's size (self.image_shape is known)"
            )
    if model.config.log.export and not hasattr(model, "backbone"):
        raise ConfigError(f"log.export=true: {type(model).__name__} has no module called backbone to export")


def representation_widths(model: Any) -> dict[str, int]:
    """Return the width D of each representation ``(N, D)`` by name: the output of ``encode`` for two blank images.

    Raises
    ------
    MethodError
        If the output is not a dict of such tensors.
    """
    images = _blank(model)
    with torch.no_grad(), model.run.precision.autocast():
        found: Any = model.encode(images)
    if not isinstance(found, dict) or not found:
        raise _wrong_result(model, "encode", describe(found), "a dict of tensors (N, D) by name")
    for name, features in found.items():
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
            given = f"{describe(features)} as {name!r} for images {tuple(images.shape)}"
            raise _wrong_result(model, "encode", given, "a tensor (N, D)")
    return {name: features.shape[1] for name, features in found.items()}


def check_forward(model: Any) -> Tensor:
    """Return the output of ``forward`` for two blank images, so that a mistake is found before the first evaluation.

    Raises
    ------
    MethodError
        If the output is not a tensor with a row for each image.
    """
    images = _blank(model)
    nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model.data = Batch([images], nothing, nothing)
    with torch.no_grad(), model.run.precision.autocast():
        prediction: Any = model.forward(images)
    if not isinstance(prediction, Tensor) or prediction.ndim == 0 or len(prediction) != len(images):
        given = f"{describe(prediction)} for images {tuple(images.shape)}"
        raise _wrong_result(model, "forward", given, "a tensor with a row for each, e.g. logits (N, K)")
    return prediction


def _blank(model: Any) -> Tensor:
    """Put the model into evaluation mode, and return two black images ``(2, C, H, W)``."""
    model.eval()
    return torch.zeros((2, *model.image_shape), device=model.run.distributed.device, dtype=model.run.precision.dtype)


def _wrong_result(model: Any, function: str, given: str, expected: str) -> MethodError:
    return MethodError(f"{type(model).__name__}.{function}() returned {given}: expected {expected}")


def check_optimizer(model: Any) -> None:
    """Raise a MethodError if ``initialize_optimizer`` has not set ``self.optimizer`` to an optimizer."""
    optimizer: Any = getattr(model, "optimizer", None)
    if not all(hasattr(optimizer, name) for name in ("param_groups", "step", "state_dict", "load_state_dict")):
        raise MethodError(
            f"{type(model).__name__}.initialize_optimizer() set self.optimizer to {describe(optimizer)}: expected a "
            "torch.optim.Optimizer, e.g. self.optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.optim.lr)"
        )


def check_scheduler(model: Any) -> None:
    """Raise a MethodError if ``initialize_scheduler`` has not set ``self.schedule`` to a function of the step."""
    subject = f"{type(model).__name__}.initialize_scheduler() set self.schedule to"
    check_schedule(getattr(model, "schedule", None), subject)


def loss_terms(loss: Any, method: str) -> dict[str, Tensor]:
    """Return the loss that a method, named for errors, returns: a dict of its terms. Those without a gradient are only logged.

    Raises
    ------
    MethodError
        If it is not a floating-point scalar or a dict of them, if a term has a name in :data:`RESERVED_TERMS`, or if the loss
        depends on no parameter.
    """
    terms = loss if isinstance(loss, dict) else {"loss": loss}
    for name in loss if isinstance(loss, dict) else ():
        if not isinstance(name, str) or name in RESERVED_TERMS or _PROBE_LOSS.fullmatch(name):
            raise MethodError(
                f"{method}() returned a term called {name!r}: expected a name other than those that the run logs itself, "
                f"{', '.join(map(repr, RESERVED_TERMS))} and 'probe_..._loss'"
            )
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim != 0 or not term.is_floating_point():
            which = f" as the term {name!r}" if isinstance(loss, dict) else ""
            raise MethodError(f"{method}() returned {describe(term)}{which}: {_LOSS}")
    if not terms:
        raise MethodError(f"{method}() returned an empty dict: {_LOSS}")
    if torch.is_grad_enabled() and not any(term.requires_grad for term in terms.values()):
        raise MethodError(
            f"{method}() returned a loss that depends on no parameter: was it detached, or computed under torch.no_grad()?"
        )
    return terms


@contextmanager
def explained_loss(model: Any) -> Iterator[None]:
    """Add the views of the batch to any error of the loss; a batch that is too small is a ConfigError."""
    try:
        yield
    except (ConfigError, RunError):
        raise
    except Exception as error:
        reason, expected = str(error), ""
        if "more than 1 value per channel" in reason:
            reason = f"batch normalisation needs more than one value per channel, {reason.partition(', ')[2]}"
            expected = "at least 2 samples on each rank"
        if expected or isinstance(error, BatchSizeError):
            size = model.config.optim.batch_size
            raise ConfigError(reason, key="optim.batch_size", value=size, expected=expected) from error
        views = model.data.views
        shapes = Counter(str(tuple(view.shape)) for view in views)
        error.add_note(
            f"{type(model).__name__}.compute_loss() was given self.data[0]: a list of {len(views)} "
            f"{'view' if len(views) == 1 else 'views'}: "
            f"{', '.join(f'{count} of shape {shape}' for shape, count in shapes.items())}; data.views sets the number and the "
            "sizes of the views"
        )
        raise


def checked_step(model: Any, step_before: int, moved: Any) -> bool:
    """Return the result of ``train_step``: whether the optimizer has stepped.

    Raises
    ------
    MethodError
        If it is not a bool, or ``self.progress.step`` was not counted up by one in a step that moved the weights.
    """
    if not isinstance(moved, bool):
        raise _wrong_result(
            model, "train_step", describe(moved), "True if the optimizer has stepped, False if it has not"
        )
    if model.progress.step != step_before + moved:
        given = f"{moved} and changed self.progress.step from {step_before} to {model.progress.step}"
        raise _wrong_result(
            model, "train_step", given, "self.progress.step += 1 for a step of the optimizer, and only then"
        )
    return moved
