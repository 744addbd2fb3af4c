"""The parameters of a view in words."""

import re
from collections.abc import Mapping
from typing import Any

from ssl_data.augment.sampling import ORDERS, PARAMETERS

_JITTER = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}  # neutral values, in the order of ORDERS
_BOX = ("height", "width", "top", "left")


def parameter_lines(drawn: Mapping[str, Any]) -> list[str]:
    """Return what was drawn for one view, in short lines: the crop, then the other operations in their order.

    Parameters
    ----------
    drawn : Mapping
        Name -> number, as :mod:`ssl_data.augment.sampling` describes them, and the parameters of ``ViewSpec.operations``.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import ArraySource, Loader, views
    >>> source = ArraySource(np.zeros((4, 32, 32, 3), np.uint8))
    >>> *_, parameters = next(iter(Loader(source, views("evaluation", 32), 1, return_parameters=True)))
    >>> parameter_lines({name: column[0].item() for name, column in parameters[0].items()})
    ['whole image']
    """
    p = drawn
    whole = (p["height"], p["width"]) == (p["image_height"], p["image_width"]) and not (p["top"] or p["left"])
    size = f"{p['width']:.4g} x {p['height']:.4g}"
    lines = ["whole image" if whole else f"crop {size} at {p['left']:.4g}, {p['top']:.4g}"]
    lines += ["flipped"] * bool(p["flip"])
    lines += [f"{name} {p[name]:+.1f}°" for name in ("angle", "shear") if p[name]]
    if p["shift_x"] or p["shift_y"]:
        lines.append(f"shift {p['shift_x']:+.1f}, {p['shift_y']:+.1f}")
    lines += [f"zoom {p['zoom']:.2f}"] * (p["zoom"] != 1)
    order = [list(_JITTER)[step] for step in ORDERS[p["order"]]]
    lines += [f"{name} {p[name]:.2f}" for name in order if p[name] != _JITTER[name]]
    lines += ["grayscale"] * bool(p["grayscale"]) + [f"blur {p['sigma']:.2f}"] * (p["sigma"] > 0)
    lines += ["solarized"] * bool(p["solarize"]) + [f"noise {p['noise']:.2f}"] * (p["noise"] > 0)
    return lines + _operation_lines({name: value for name, value in p.items() if name not in (PARAMETERS.names or ())})


def _operation_lines(drawn: dict[str, Any]) -> list[str]:
    """Return the parameters of the operations that extend the engine: names of true ones, boxes, and numbers."""
    lines, rest = [], dict(drawn)
    for name in drawn:
        prefix = re.sub(r"height$", "", name)
        if prefix == name or not all(f"{prefix}{each}" in rest for each in _BOX):
            continue
        height, width, top, left = (rest.pop(f"{prefix}{each}") for each in _BOX)
        if height and width:
            lines.append(f"{_words(prefix)} {width:.4g} x {height:.4g} at {left:.4g}, {top:.4g}".strip())
    for name, value in rest.items():
        if isinstance(value, bool):
            lines += [_words(name)] * value
        elif isinstance(value, int | float):
            lines.append(f"{_words(name)} {value:.4g}")
        else:
            lines.append(f"{_words(name)} {value}")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ").strip()
