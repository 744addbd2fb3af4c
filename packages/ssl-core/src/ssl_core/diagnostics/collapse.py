"""Detect collapse: all images have nearly the same embedding, or are equally likely to belong to each prototype."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core.distributed.ranks import Distributed
from ssl_eval import rankme

SAMPLES = 512  # first images of an evaluation set that are used, over all ranks
SPREAD = 0.03  # below it the mean cosine similarity of two images is above 0.999
RANK = 1.5  # below it all images lie on one line
UNIFORM_STEPS = 100  # optimizer steps during which a loss has to be that of uniform assignments
UNIFORM_TOLERANCE = 1e-3  # of such a loss, absolute

_message = logging.getLogger(__name__)


@dataclass
class CollapseDetector:
    """Measures how much the representations of images differ, at each evaluation, and observes the loss; warns once in a run.

    ``std_<name>``: the standard deviation over the images of each dimension of the l2-normalised embedding, averaged over the D
    dimensions, times the square root of D: 1 where the embeddings are spread over the whole sphere, 0 where they are all the
    same (Chen & He, Exploring simple Siamese representation learning, CVPR 2021, https://arxiv.org/abs/2011.10566, figure 2).

    ``rank_<name>``: the effective rank of the embeddings, between 1 and min(N, D) (Roy & Vetterli, EUSIPCO 2007; RankMe,
    Garrido et al., ICML 2023, https://arxiv.org/abs/2210.02885). Unlike the standard deviation, it detects embeddings on one
    line.

    Both use the first 512 images of an evaluation set, gathered from all ranks, so that they do not depend on the number of
    ranks. Training steps have no cost.

    The loss of a method that assigns images to K prototypes is log K where all prototypes are equally likely for all images.
    Such a method names it; each value that is logged is compared with log K.
    """

    distributed: Distributed
    uniform_loss: tuple[str, float] = ("", 0.0)  # its name in the log and the value of uniform assignments; "": none

    def __post_init__(self) -> None:
        self.warned = False
        self._share = -(-SAMPLES // self.distributed.world_size)
        self._kept: dict[str, list[Tensor]] = {}
        self._uniform_since: int | None = None  # a step; not saved: a resumed run counts anew

    def observe(self, step: int, values: Mapping[str, float]) -> None:
        """Warn if the loss has been that of uniform assignments for 100 optimizer steps. Called with each line of the log."""
        name, uniform = self.uniform_loss
        if name not in values or abs(values[name] - uniform) > UNIFORM_TOLERANCE:
            self._uniform_since = None
            return
        self._uniform_since = step if self._uniform_since is None else self._uniform_since
        if step - self._uniform_since >= UNIFORM_STEPS:
            self._warn(
                "the assignments to prototypes have collapsed: since step %d %s has been %.4f, as if all prototypes were "
                "equally likely for each image; try a smaller optim.lr, a longer optim.warmup_epochs, fewer prototypes or a "
                "larger batch",
                self._uniform_since, name, uniform,
            )  # fmt: skip

    def add(self, representations: Mapping[str, Tensor]) -> None:
        """Keep the representations ``(N, D)`` of an evaluation batch, by name, until there are enough."""
        for name, features in representations.items():
            kept = self._kept.setdefault(name, [])
            missing = self._share - sum(map(len, kept))
            if missing > 0:
                kept.append(features[:missing].detach().flatten(1).float())

    def compute(self) -> dict[str, float]:
        """Return ``std_<name>`` and ``rank_<name>`` of what was added, and reset; warn if they are too low.

        Called on all ranks after each evaluation set.
        """
        values: dict[str, float] = {}
        for name, kept in self._kept.items():
            features = self.distributed.gather(torch.cat(kept))
            if len(features) < 2 or not torch.isfinite(features).all():
                continue
            values[f"std_{name}"] = spread(features)
            narrow = features if features.shape[1] <= len(features) else features.T  # the same, and D x D may be large
            values[f"rank_{name}"] = rankme(narrow)
            if values[f"std_{name}"] < SPREAD or values[f"rank_{name}"] < RANK:
                self._warn(
                    "the %s has collapsed: nearly all images have the same embedding (standard deviation %.3g of 1, effective "
                    "rank %.3g of %d); try a smaller optim.lr or a longer optim.warmup_epochs; a loss that pushes images apart "
                    "(negatives, variance, whitening), or a teacher or predictor with a stopped gradient",
                    name, values[f"std_{name}"], values[f"rank_{name}"], features.shape[1],
                )  # fmt: skip
        self._kept = {}
        return values

    def _warn(self, sentence: str, *arguments: Any) -> None:
        if not self.warned and self.distributed.is_main:
            _message.warning(sentence, *arguments)
        self.warned = True

    def state_dict(self) -> dict[str, Any]:
        """Return whether the warning was given."""
        return {"warned": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.warned = state["warned"]


def spread(features: Tensor) -> float:
    r"""Return :math:`\sqrt D \cdot \frac1D \sum_d \mathrm{std}_n(z_{nd} / |z_n|)` of embeddings ``(N, D)``: between 0 and 1.

    Examples
    --------
    >>> round(spread(torch.ones(8, 4)), 3)
    0.0
    """
    unit = F.normalize(features.double(), dim=1)
    return (unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5).item()
