"""Changes that might make a training step of the bare loop faster on a CPU: what each gives.

    python3 runs/bench/loop_changes.py

Forward and backward pass of resnet9 of width 16 on 256 views of 32 pixels, two threads, samples a second: the current network,
the same with its poolings after the ReLUs (equal results), and the current one compiled. Then a step of an optimizer as
torch has it by default, with ``foreach`` and with ``fused``, one thread, milliseconds of processor time. Give the machine to
this script alone.
"""

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from process_timing import processors
from torch import nn

from ssl_core.backbones import build_backbone

SHAPE, BATCH, TURNS, STEPS = (3, 32, 32), 256, 7, 5


def resnet9() -> nn.Module:
    torch.manual_seed(0)
    return build_backbone("resnet9", SHAPE, width=16).to(memory_format=torch.channels_last)


def pooled_after_relu() -> nn.Module:
    """Return resnet9 with its poolings and ReLUs exchanged."""
    net = resnet9()
    for each in net.modules():
        if isinstance(each, nn.Sequential) and len(each) == 4 and isinstance(each[2], nn.MaxPool2d):
            each[2], each[3] = each[3], each[2]
    return net


def seconds(step: Callable[[], object], clock: Callable[[], float]) -> list[float]:
    """Return the times of some steps, after one that is not counted."""
    step()
    found = []
    for _ in range(STEPS):
        began = clock()
        step()
        found.append(clock() - began)
    return found


def print_networks() -> None:
    torch.set_num_threads(2)
    x = torch.randn(BATCH, *SHAPE).contiguous(memory_format=torch.channels_last)
    began = time.perf_counter()
    compiled = torch.compile(resnet9())
    compiled(x).mean().backward()
    print(f"compilation: {time.perf_counter() - began:.0f} s")
    networks = {"current": resnet9(), "pooled after the ReLU": pooled_after_relu(), "compiled": compiled}
    rates: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(TURNS):  # in rotation: other work on the machine meets all of them
        for name, net in networks.items():
            rates[name] += [
                BATCH / each for each in seconds(lambda net=net: net(x).mean().backward(), time.perf_counter)
            ]
    for name, found in rates.items():
        print(f"{name:24s}{statistics.median(found):6.0f} samples/s ({min(found):.0f} to {max(found):.0f})", flush=True)


def print_optimizers() -> None:
    torch.set_num_threads(1)
    kinds = {"SGD": (torch.optim.SGD, {"momentum": 0.9}), "AdamW": (torch.optim.AdamW, {})}
    networks = {"resnet9": resnet9, "vit_tiny": lambda: build_backbone("vit_tiny", SHAPE, patch_size=4)}
    for network, build in networks.items():
        for name, (kind, options) in kinds.items():
            cells = []
            for form in ({}, {"foreach": True}, {"fused": True}):
                parameters = list(build().parameters())
                for each in parameters:
                    each.grad = torch.randn_like(each)
                optimizer = kind(parameters, lr=1e-3, weight_decay=1e-4, **options, **form)
                cells.append(1000 * statistics.median(seconds(optimizer.step, time.process_time)))
            print(
                f"{name}, {network}: default {cells[0]:.2f} ms, foreach {cells[1]:.2f}, fused {cells[2]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}, {versions}\n")
    print_networks()
    print_optimizers()
