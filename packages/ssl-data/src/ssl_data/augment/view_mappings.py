"""Views that a configuration defines by mappings. No torch is imported here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ssl_data.augment.presets import views
from ssl_data.augment.view_spec import ViewSpec


def views_of_mappings(
    mappings: Sequence[dict[str, Any]], size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> list[ViewSpec]:
    """Return the specs of a list of mappings: each a view of its own, or with ``preset`` all views of one, changed."""
    specs = []
    for mapping in mappings:
        changes = dict(mapping)
        preset, num_local = changes.pop("preset", None), changes.pop("num_local", None)
        if preset is None and num_local is not None:
            raise ValueError(f"data.views: num_local={num_local!r}: expected a preset in the same mapping")
        for name in ("mean", "std"):
            if name in changes:
                raise ValueError(f"data.views: {name}={changes[name]!r}: not a key here, that of the data is used")
        base = [ViewSpec(size=size)] if preset is None else views(preset, size, num_local=num_local)
        specs += [spec.changed(changes) for spec in base]
    return [replace(spec, mean=mean, std=std) for spec in specs]
