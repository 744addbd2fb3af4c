"""Parameter groups: validate those of a method, and split them by weight decay and layer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ssl_core.config import option, validation
from ssl_core.errors import ConfigError, MethodError, describe
from ssl_core.optimizers.layer_decay import layers_above
from ssl_core.schedules import SCHEDULES, check_schedule


@dataclass(frozen=True)
class ParameterGroup:
    """A group that ``BaseModel.parameter_groups`` returns, validated."""

    params: Any  # parameters of the model; those that do not require a gradient are not trained
    lr_scale: float = option(1.0, low=0.0)  # factor of optim.lr; optim.layer_decay multiplies it
    # schedule of the group: a name as for optim.schedule (with its warm-up), or a pure function optimizer step -> factor
    lr_schedule: str | Callable[[int], float] | None = option(None, choices=tuple(SCHEDULES))
    # of all its parameters; None: optim.weight_decay, and 0 for biases and normalization. optim.weight_decay_end scales both
    weight_decay: float | None = option(None, low=0.0)
    betas: list[float] | tuple[float, ...] | None = None  # in place of optim.betas, for Adam-like optimizers
    frozen_epochs: int = option(0, low=0)  # first epochs in which it is not trained, as with optim.freeze


def check_parameter_groups(module: nn.Module, groups: Any) -> list[ParameterGroup]:
    """Return the groups of ``module.parameter_groups()``, validated.

    Each trainable parameter of the module has to be in exactly one group.

    Raises
    ------
    MethodError
        For an unknown key, an invalid value, a parameter in two groups, a trainable parameter in no group, or a tensor that
        is not a parameter of the model.
    """
    method = f"{type(module).__name__}.parameter_groups()"
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise MethodError(
            f"{method} returned {describe(groups)}: expected a list of dicts, e.g. [{{'params': self.parameters()}}]"
        )
    names = {parameter: name for name, parameter in module.named_parameters()}
    group_of: dict[nn.Parameter, int] = {}
    checked = []
    for number, group in enumerate(groups):
        key = f"{method}[{number}]"
        checked.append(_check_group(key, group))
        for parameter in checked[-1].params:
            if parameter not in names:
                raise MethodError(
                    f"{key}.params: contains {describe(parameter)}, which is not a parameter of the model"
                )
            if group_of.setdefault(parameter, number) != number:
                raise MethodError(
                    f"{method}: {names[parameter]!r} is in groups {group_of[parameter]} and {number}; expected one group for "
                    "each parameter"
                )
    missing = [repr(name) for parameter, name in names.items() if parameter.requires_grad and parameter not in group_of]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise MethodError(
            f"{method}: {', '.join(missing[:3])}{more}: trainable and in no group; add a group, or set requires_grad to False "
            "in initialize_modules"
        )
    return checked


def _check_group(key: str, group: dict[str, Any]) -> ParameterGroup:
    try:
        validation.build_groups({key: ParameterGroup}, {key: group})
        params = group["params"]
        try:
            params = [params] if isinstance(params, Tensor) else list(dict.fromkeys(params))
        except TypeError:
            raise MethodError(
                f"{key}.params={describe(params)}: expected parameters, e.g. self.head.parameters()"
            ) from None
        checked = ParameterGroup(**{**group, "params": params})
        validation.check_groups({key: checked})
    except ConfigError as error:
        raise MethodError(str(error)) from error
    if checked.betas is not None and (len(checked.betas) != 2 or not all(0 <= beta < 1 for beta in checked.betas)):
        raise MethodError(f"{key}.betas={group['betas']}: expected two numbers of at least 0 and below 1")
    return checked


def group_schedules(
    groups: Sequence[ParameterGroup], named: Callable[[str], Callable[[int], float]]
) -> dict[int, Callable[[int], float]]:
    """Return the schedule of each group that has its own, by the number of the group.

    ``named`` returns the schedule of the run of a name.

    Raises
    ------
    MethodError
        For a function that does not return a number.
    """
    schedules = {}
    for number, group in enumerate(groups):
        if group.lr_schedule is not None:
            schedules[number] = named(group.lr_schedule) if isinstance(group.lr_schedule, str) else group.lr_schedule
            check_schedule(schedules[number], f"parameter_groups()[{number}].lr_schedule is")
    return schedules


def split_groups(
    module: nn.Module,
    groups: Sequence[ParameterGroup] | None = None,
    lr: float = 1.0,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Return groups for ``torch.optim``: each given group split into parameters with and without weight decay, and by layer.

    Biases and normalization parameters have no weight decay (Goyal et al. 2017, https://arxiv.org/abs/1706.02677; SimCLR,
    Chen et al. 2020), unless their group sets one. They are recognized by their shape: at most one dimension. The same holds
    for parameters that a submodule lists in ``no_weight_decay()``, as timm's models do (class tokens, positions).

    With ``layer_decay`` d below 1, a parameter of ``module.backbone`` with n layers above it has d^n times the learning rate
    (BEiT, Bao et al. 2022, https://arxiv.org/abs/2106.08254; MAE, He et al. 2022); see
    :func:`~ssl_core.optimizers.layer_decay.layers_above`.

    Parameters
    ----------
    module : nn.Module
        The model.
    groups : sequence of ParameterGroup, optional
        From :func:`check_parameter_groups`. Default: one group of all parameters. Parameters with ``requires_grad=False`` are
        left out.
    lr, weight_decay : float
        Peak learning rate, and weight decay of groups that do not set one.
    layer_decay : float
        d, in (0, 1].

    Returns
    -------
    list of dict
        ``{"params", "lr", "weight_decay", "group"}`` each, and ``"betas"`` if they are set; ``group`` is the number of the
        given group. Given groups in order, each from the head down to the stem; none is empty.

    Raises
    ------
    ValueError
        With ``layer_decay``: if the module has no ``backbone``, or its layers are unknown.

    Examples
    --------
    >>> [(len(group["params"]), group["weight_decay"]) for group in split_groups(nn.Linear(3, 2), weight_decay=1e-4)]
    [(1, 0.0001), (1, 0.0)]
    """
    above: dict[str, int] = {}
    if layer_decay != 1:
        backbone = getattr(module, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise ValueError(f"optim.layer_decay={layer_decay}: {type(module).__name__} has no module called backbone")
        above = {f"backbone.{name}": number for name, number in layers_above(backbone).items()}
    names = {parameter: name for name, parameter in module.named_parameters()}
    excluded = _no_weight_decay(module)
    split = []
    for number, group in enumerate(groups or [ParameterGroup(list(names))]):
        parts: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for parameter in group.params:
            if parameter.requires_grad:
                name = names[parameter]
                undecayed = group.weight_decay is None and (parameter.ndim <= 1 or name in excluded)
                parts.setdefault((above.get(name, 0), undecayed), []).append(parameter)
        decay = weight_decay if group.weight_decay is None else group.weight_decay
        for layer, undecayed in sorted(parts):
            part = {"params": parts[layer, undecayed], "lr": float(lr * group.lr_scale * layer_decay**layer)}
            part |= {"weight_decay": 0.0 if undecayed else float(decay), "group": number}
            split.append(part | ({} if group.betas is None else {"betas": tuple(group.betas)}))
    return split


def _no_weight_decay(module: nn.Module) -> set[str]:
    """Return the names that submodules list in ``no_weight_decay()``."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, submodule in module.named_modules()
        if hasattr(submodule, "no_weight_decay")
        for name in submodule.no_weight_decay()
    }


def other_parameters(model: nn.Module, chosen: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters of a model that are not among ``chosen``, in their order: the rest, for a group of its own."""
    known = set(chosen)
    return [parameter for parameter in model.parameters() if parameter not in known]
