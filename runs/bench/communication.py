"""Communication of a training step: bytes of each collective of a loss, counted on one rank of a run of any size.

    python3 runs/bench/communication.py                                    # ViT-L, 256 ranks, 64 images a rank
    python3 runs/bench/communication.py --ranks 64 --images 32 --width 768

The process group is a counter: each collective returns at once, and the bytes of its result are added up. What is counted is
what the code asks for; the time of a network is not measured. "gathered": the result of ``all_gather`` (every rank's rows);
"reduced": the tensors of ``all_reduce``. A ring sends and receives the gathered bytes once and the reduced bytes twice.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))

import torch
import torch.distributed as dist

import ssl_losses

Sizes = argparse.Namespace


class CountingGroup:
    """Replaces the functions of ``torch.distributed``; ``calls`` and ``bytes`` count by kind."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def all_reduce(self, tensor: Any, **_: Any) -> None:
        self._count("agreed" if tensor.dtype == torch.int64 else "reduced", tensor.nbytes)

    def all_gather(self, parts: list[Any], tensor: Any, **_: Any) -> None:
        for part in parts:
            part.copy_(tensor)
        self._count("gathered", sum(part.nbytes for part in parts))

    def _count(self, kind: str, size: int) -> None:
        self.calls[kind] += 1
        self.bytes[kind] += size

    def __enter__(self) -> "CountingGroup":
        replaced = {
            "is_initialized": lambda: True, "get_world_size": lambda *_: self.ranks, "get_rank": lambda *_: 0,
            "all_reduce": self.all_reduce, "all_gather": self.all_gather, "get_backend_config": lambda *_: "cpu:gloo",
            "group": SimpleNamespace(WORLD=object()),
        }  # fmt: skip
        self._patches = [mock.patch.object(dist, name, value) for name, value in replaced.items()]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()


def views(sizes: Sizes, dimensions: int, count: int = 2) -> list[Any]:
    return [torch.randn(sizes.images, dimensions, requires_grad=True) for _ in range(count)]


def _dino(sizes: Sizes, centering: str) -> Any:
    """Ten views, two of them the teacher's, 65,536 prototypes: the loss, and the update of its centre."""
    loss = ssl_losses.DINOLoss(sizes.prototypes, centering=centering)
    return loss(views(sizes, sizes.prototypes, 10), [z.detach() for z in views(sizes, sizes.prototypes)], 0.07)


def _swav(sizes: Sizes) -> Any:
    return ssl_losses.SwAVLoss(3000, sizes.embedding)(*views(sizes, sizes.embedding, 8))


def _mae(sizes: Sizes) -> Any:
    patches, pixels = 147, 768  # the masked ones of 196, 16 x 16 x 3
    prediction = torch.randn(sizes.images, patches, pixels, requires_grad=True)
    return ssl_losses.masked_reconstruction(
        prediction, torch.rand_like(prediction), torch.ones(sizes.images, patches).bool()
    )


FAMILIES: dict[str, tuple[str, Callable[[Sizes], Any]]] = {
    "SimCLR, NT-Xent": ("D = 256", lambda s: ssl_losses.nt_xent(*views(s, s.embedding))),
    "MoCo v3": ("D = 256", lambda s: ssl_losses.moco_v3(*views(s, s.embedding, 4))),
    "Barlow Twins": ("D = 8192", lambda s: ssl_losses.barlow_twins(*views(s, s.wide))),
    "VICReg": ("D = 8192", lambda s: ssl_losses.vicreg(*views(s, s.wide))),
    "SIGReg (LeJEPA)": ("D = 256, 8 views", lambda s: ssl_losses.SIGRegLoss()(*views(s, s.embedding, 8))),
    "DINO, centre": ("K = 65,536, 10 views", lambda s: _dino(s, "mean")),
    "DINO, Sinkhorn": ("K = 65,536, 10 views", lambda s: _dino(s, "sinkhorn")),
    "SwAV": ("K = 3000, 8 views", _swav),
    "KoLeo (DINOv2)": ("D = 1024", lambda s: ssl_losses.koleo(*views(s, s.width))),
    "MAE": ("-", _mae),
    "BYOL, SimSiam": (
        "D = 256",
        lambda s: ssl_losses.negative_cosine_similarity(views(s, s.embedding), views(s, s.embedding)),
    ),
}


def count(sizes: Sizes, family: str) -> CountingGroup:
    """Return what a loss and its backward pass communicate."""
    with CountingGroup(sizes.ranks) as group:
        FAMILIES[family][1](sizes).backward()
    return group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {
        "ranks": 256, "images": 64, "width": 1024, "embedding": 256, "wide": 8192, "prototypes": 65_536,
        "parameters": 304_000_000,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    sizes = parser.parse_args()
    print(f"{sizes.ranks} ranks, {sizes.images} images a rank; MB of one rank a step, float32\n")
    print(f"{'loss':18} {'sizes':22} {'gathered':>10} {'reduced':>10} {'collectives':>12}")
    for family, (shape, _) in FAMILIES.items():
        group = count(sizes, family)
        calls = sum(number for kind, number in group.calls.items() if kind != "agreed")
        row = [f"{group.bytes[kind] / 1e6:10,.3f}" for kind in ("gathered", "reduced")]
        print(f"{family:18} {shape:22} {row[0]} {row[1]} {calls:>12}", flush=True)
    print(f"{'gradient, DDP':18} {f'{sizes.parameters:,}':22} {0:10.3f} {4 * sizes.parameters / 1e6:10,.3f}")


if __name__ == "__main__":
    main()
