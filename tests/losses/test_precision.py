"""The precision of losses beyond the contract, which runs on the CPU alone."""

import pytest
import torch

from ssl_losses import precision


@pytest.mark.parametrize(
    "arguments", [lambda z: ((z,), {}), lambda z: (([z, z], [z]), {}), lambda z: ((0.1,), {"views": (None, [z])})]
)
def test_autocast_is_off_on_the_device_of_listed_views(monkeypatch, arguments):
    """On another device than the views' it would stay on, and matrix products in half precision."""
    switched_off = []
    autocast = torch.autocast

    def recorded(device, enabled):
        switched_off.append((device, enabled))
        return autocast("cpu", enabled=enabled)

    monkeypatch.setattr(torch, "autocast", recorded)
    positional, options = arguments(torch.empty(1, device="meta"))
    assert precision.without_autocast(lambda *_, **__: 7)(*positional, **options) == 7
    assert switched_off == [("meta", False)]
