"""What the methods that a researcher writes give back: checked where it is first seen, and said in one sentence.

Without, a loss that is no scalar or a prediction that is a tuple would end in a traceback of ours, and the latter only in the
first evaluation.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ssl_core.described import described
from ssl_core.errors import MethodError

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel

_LOSS = "expected a scalar tensor, or a dict of them by name, whose sum is the loss"


def terms_of(loss: Any, method: str) -> dict[str, Tensor]:
    """Return a loss as a dict of its terms.

    Parameters
    ----------
    loss : scalar or dict
        What ``compute_loss`` has returned.
    method : str
        Its name, for the sentence.

    Raises
    ------
    MethodError
        If it is no scalar of floating point and no dict of such, or if no parameter has a part in it.
    """
    terms = loss if isinstance(loss, dict) else {"loss": loss}
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim != 0 or not term.is_floating_point():
            which = f" as the term {name!r}" if isinstance(loss, dict) else ""
            raise MethodError(f"{method}() returned {described(term)}{which}: {_LOSS}")
    if not terms:
        raise MethodError(f"{method}() returned an empty dict: {_LOSS}")
    if torch.is_grad_enabled() and not any(term.requires_grad for term in terms.values()):
        raise MethodError(
            f"{method}() returned a loss that depends on no parameter: was it detached, or computed under torch.no_grad()?"
        )
    return terms


def check_modules(module: nn.Module) -> None:
    """Raise a MethodError for a parameter that waits for its first input to know its shape."""
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise MethodError(
                f"{type(module).__name__}.initialize_modules() made '{name}' lazy, and its shape is needed before the first "
                "batch: give the module its input's size (self.image_shape is known)"
            )


def check_optimizer(model: "BaseModel") -> None:
    """Raise a MethodError if ``initialize_optimizer`` has not set ``self.optimizer`` to an optimizer."""
    optimizer: Any = getattr(model, "optimizer", None)
    if not all(hasattr(optimizer, name) for name in ("param_groups", "step", "state_dict", "load_state_dict")):
        raise MethodError(
            f"{type(model).__name__}.initialize_optimizer() set self.optimizer to {described(optimizer)}: expected a "
            "torch.optim.Optimizer, e.g. self.optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.optim.lr)"
        )


def check_schedule(model: "BaseModel") -> None:
    """Raise a MethodError if ``initialize_scheduler`` has not set ``self.schedule`` to a function of the step."""
    schedule: Any = getattr(model, "schedule", None)
    factor = schedule(0) if callable(schedule) else schedule
    if not callable(schedule) or isinstance(factor, bool) or not isinstance(factor, int | float):
        given = f"a function that returns {described(factor)}" if callable(schedule) else described(schedule)
        raise MethodError(
            f"{type(model).__name__}.initialize_scheduler() set self.schedule to {given}: expected a function of the "
            "optimizer step that returns the factor of the learning rate, e.g. self.schedule = lambda step: 0.99**step"
        )


def checked_step(model: "BaseModel", step_before: int, moved: Any) -> bool:
    """Return what ``train_step`` has returned: whether the weights moved.

    Raises
    ------
    MethodError
        If it is not a bool, or ``self.progress.step`` was not counted up by one in a step that moved the weights.
    """
    method = f"{type(model).__name__}.train_step"
    if not isinstance(moved, bool):
        raise MethodError(
            f"{method}() returned {described(moved)}: expected True if the optimizer has stepped, False if it has not"
        )
    if model.progress.step != step_before + moved:
        raise MethodError(
            f"{method}() returned {moved} and changed self.progress.step from {step_before} to {model.progress.step}: "
            "expected self.progress.step += 1 for a step of the optimizer, and only then"
        )
    return moved


def representation_widths(model: "BaseModel") -> dict[str, int]:
    """Return the width D of each representation ``(N, D)`` by name, as the model's ``encode`` gives them of two blank images.

    Raises
    ------
    MethodError
        If they are no dict of such tensors.
    """
    images, method = _blank(model), f"{type(model).__name__}.encode"
    with torch.no_grad(), model.precision.autocast():
        found: Any = model.encode(images)
    if not isinstance(found, dict) or not found:
        raise MethodError(f"{method}() returned {described(found)}: expected a dict of tensors (N, D) by name")
    for name, features in found.items():
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
            given = f"{described(features)} as {name!r} for images {tuple(images.shape)}"
            raise MethodError(f"{method}() returned {given}: expected a tensor (N, D)")
    return {name: features.shape[1] for name, features in found.items()}


def try_forward(model: "BaseModel") -> None:
    """Refuse a ``forward`` that gives no prediction of two blank images: the first evaluation, which needs it, is far away.

    Raises
    ------
    MethodError
        If what it gives is no tensor with a row for each image.
    """
    images = _blank(model)
    nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model.data = [images, nothing, nothing]
    with torch.no_grad(), model.precision.autocast():
        prediction: Any = model.forward(images)
    model.data = []
    if not isinstance(prediction, Tensor) or prediction.ndim == 0 or len(prediction) != len(images):
        raise MethodError(
            f"{type(model).__name__}.forward() returned {described(prediction)} for images {tuple(images.shape)}: expected a "
            "tensor with a row for each, e.g. logits (N, K)"
        )


def _blank(model: "BaseModel") -> Tensor:
    """Return two black images ``(2, C, H, W)``, and let the model judge, not learn."""
    model.eval()
    return torch.zeros((2, *model.image_shape), device=model.distributed.device, dtype=model.precision.dtype)
