"""Warn about state that a checkpoint does not hold: tensors in plain attributes, modules in lists, objects not in parts()."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_message = logging.getLogger(__name__)

# Packages whose modules save their state
_LIBRARIES = ("torch", "torchvision", "timm", "ssl_core", "ssl_losses")


class UnsavedState:
    """Compares the plain attributes of a model and its modules before and after the first optimizer step.

    A resumed run does not restore them. A constant is not reported, nor is a value that each step sets and that did not exist
    before the first step.
    """

    _before: dict[str, Any] | None = None  # name of an attribute -> its content before the first step

    def begin(self, model: Any) -> None:
        """Remember the attributes of an initialized model.

        Reported at once are modules and parameters in lists, tuples and dicts, which are neither trained nor saved, and
        objects with a ``state_dict`` that are not among its ``parts()``.
        """
        _report_unregistered(model)
        _report_objects(model)
        self._before = {name: _content(value) for name, value in _attributes(model) if _is_state(value)}

    def check(self, model: Any) -> None:
        """Report what has changed since :meth:`begin`, at the first call."""
        if self._before is None:
            return
        before, self._before = self._before, None
        after = dict(_attributes(model))
        for name, content in before.items():
            if name not in after or _content(after[name]) == content:
                continue
            advice = f"keep it with self.register_buffer({name.rpartition('.')[2]!r}, tensor)"
            if isinstance(after[name], bool | int | float):
                advice = "derive it from self.progress.step, or keep it as a tensor with register_buffer"
            elif isinstance(after[name], torch.Generator):
                advice = "draw from torch's default generator, which is seeded for each batch"
            _message.warning(
                "%s changes in training and is not saved: a resumed run would begin with its first value; %s",
                name,
                advice,
            )


def _report_unregistered(model: Any) -> None:
    """Warn about modules and parameters that are in no ``parameters()`` and no ``state_dict()``."""
    known = {id(each) for each in (*model.modules(), *model.parameters())}
    for name, value in _attributes(model):
        lost = [each for each in _in_containers(value) if id(each) not in known]
        parameters = any(isinstance(each, nn.Parameter) for each in lost)
        modules = any(isinstance(each, nn.Module) and list(each.parameters()) for each in lost)
        for kind, is_lost in (("Parameter", parameters), ("Module", modules)):
            if is_lost:
                _message.warning(
                    "%s is a %s with a %s in it, which is neither trained nor saved: keep it in nn.%sList or nn.%sDict",
                    name, type(value).__name__, kind.lower(), kind, kind,
                )  # fmt: skip
                break


def _report_objects(model: Any) -> None:
    """Warn about schedulers, optimizers and similar objects that are not in the checkpoint."""
    saved = {id(part) for part in model.parts().values()}
    for name, value in _attributes(model):
        if hasattr(value, "state_dict") and not isinstance(value, nn.Module | type) and id(value) not in saved:
            short = name.rpartition(".")[2]
            _message.warning(
                "%s is a %s whose state is not saved: add it to the checkpoint with def parts(self): return "
                "{**super().parts(), %r: self.%s}",
                name, type(value).__name__, short, short,
            )  # fmt: skip


def _attributes(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the plain attributes of user-defined modules, with names such as ``self.head.mean``."""
    for path, module in model.named_modules():
        kinds = [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] not in _LIBRARIES]
        if not kinds or kinds == [object]:
            continue
        ours = {
            name for kind in type(module).__mro__ if kind not in kinds for name in getattr(kind, "__annotations__", ())
        }
        for name, value in vars(module).items():
            if name not in _MODULE and name not in ours:
                yield f"self.{path}.{name}" if path else f"self.{name}", value


_MODULE = set(vars(nn.Module()))  # attributes of torch itself


def _in_containers(value: Any) -> Iterator[Any]:
    for each in (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
    ):
        yield each
        yield from _in_containers(each)


def _is_state(value: Any) -> bool:
    """Return whether a value can be a state: a number, a tensor, a generator, a container of them, or None before the first."""
    return value is None or isinstance(value, bool | int | float | Tensor | torch.Generator | list | Mapping)


def _content(value: Any) -> Any:
    """Return what is compared: identity and version of tensors, other values themselves."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, Mapping):
        return {str(name): _content(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_content(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else id(value)
