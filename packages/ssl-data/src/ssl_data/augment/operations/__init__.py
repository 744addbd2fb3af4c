"""Operations that extend the engine, one file each: ``ViewSpec(operations=(VerticalFlip(0.5), RandomErasing(0.25)))``.

To add one, write a subclass of :class:`Operation` with four functions (``draw``, ``reference``, ``cpu``, ``gpu``), as
``vertical_flip.py`` does, and give an instance to a :class:`~ssl_data.augment.view_spec.ViewSpec`; an entry in
:data:`OPERATIONS` makes it available by name in configuration files. ``tests/data/augment/test_operations.py`` compares the
three implementations.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_data.augment.operations.operation import Operation
from ssl_data.augment.operations.patch_drop import PatchDrop
from ssl_data.augment.operations.random_erasing import RandomErasing
from ssl_data.augment.operations.three_augment import ThreeAugment
from ssl_data.augment.operations.vertical_flip import VerticalFlip
from ssl_data.errors import ArgumentError
from ssl_data.suggestion import did_you_mean

OPERATIONS: dict[str, type[Operation]] = {
    "patch_drop": PatchDrop,
    "random_erasing": RandomErasing,
    "three_augment": ThreeAugment,
    "vertical_flip": VerticalFlip,
}


def build_operations(given: Sequence[Operation | Mapping[str, Any]]) -> tuple[Operation, ...]:
    """Return operations; a mapping ``{name: vertical_flip, probability: 0.5}`` is built by its name.

    Raises
    ------
    ValueError
        For an unknown name or option, with the nearest one.
    """
    built = []
    for each in given:
        if isinstance(each, Operation):
            built.append(each)
            continue
        options = dict(each) if isinstance(each, Mapping) else {"name": each}
        name = options.pop("name", None)
        if name not in OPERATIONS:
            known = ", ".join(map(repr, OPERATIONS))
            hint = did_you_mean(str(name), OPERATIONS)
            raise ArgumentError("operations", name, f"expected one of {known}{hint}")
        fields = [field.name for field in dataclasses.fields(OPERATIONS[name])]
        for option in options:
            if option not in fields:
                hint = did_you_mean(str(option), fields) or f"; expected one of {', '.join(fields)}"
                raise ArgumentError(f"operations: {name}: {option}", options[option], f"unknown option{hint}")
        numbers = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        built.append(OPERATIONS[name](**numbers))
    return tuple(built)
