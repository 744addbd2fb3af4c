"""Few-shot classification in episodes: N classes, K samples of each, nearest class mean."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.probes.vectors import unit_rows
from ssl_eval.results import Result
from ssl_eval.validation import check_features, check_labels, computed_in

BATCH_ELEMENTS = 2**24  # numbers of the episodes that are classified at a time


@dataclass(frozen=True, eq=False, repr=False)
class EpisodicResult(Result):
    """Result of :func:`episodic_few_shot`.

    Attributes
    ----------
    mean : float
        Mean of the accuracies, a fraction in 0..1.
    half_width : float
        Half the 95 % interval of the mean, ``1.96 * std / sqrt(episodes)``, as papers print it; NaN for one episode.
    accuracies : Tensor
        ``(episodes,) float64``, fractions in 0..1.
    """

    mean: float
    half_width: float
    accuracies: Tensor


@torch.no_grad()
def episodic_few_shot(
    features: Tensor,
    labels: Tensor,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
    center: Tensor | None = None,
    seed: int = 0,
) -> EpisodicResult:
    """Return the accuracy over random tasks of ``ways`` classes with ``shots`` labelled samples of each.

    In each episode the classes, their labelled samples and ``queries`` others of each are drawn without replacement. A query
    gets the class whose mean is nearest, of features that are centred and of length one (SimpleShot, "CL2N"). This is not
    :func:`ssl_eval.few_shot`, which trains a classifier of all classes from few labels.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``, usually of classes that were not trained on.
    labels : Tensor
        ``(N,)`` integer.
    ways, shots, queries : int
        Number of classes in an episode, and of labelled and test samples of each class.
    episodes : int
        Number of episodes; episode i is a function of (seed, i) alone.
    center : Tensor, optional
        ``(D,)``, subtracted first: the mean of the training features. Default: the mean of ``features``.
    seed : int
        Random seed of the draws.

    Returns
    -------
    EpisodicResult

    Raises
    ------
    ValueError
        If features hold NaN, fewer than ``ways`` classes have ``shots + queries`` samples, or an option is out of range.

    References
    ----------
    Vinyals et al.: Matching Networks for One Shot Learning, NeurIPS 2016, https://arxiv.org/abs/1606.04080 (episodes); Snell,
    Swersky & Zemel, NeurIPS 2017, https://arxiv.org/abs/1703.05175 (class means); Wang, Chao, Weinberger & van der Maaten:
    SimpleShot, 2019, https://arxiv.org/abs/1911.04623 (centred, length one).

    Examples
    --------
    >>> labels = torch.arange(6).repeat(20)
    >>> features = torch.nn.functional.one_hot(labels, 6) + 0.1 * torch.rand(120, 6)
    >>> episodic_few_shot(features, labels, episodes=10).mean
    1.0
    """
    check_features("features", features)
    check_labels("labels", labels, len(features))
    for name, value in (("ways", ways - 1), ("shots", shots), ("queries", queries), ("episodes", episodes)):
        if value < 1:
            raise ValueError(f"{name}={value + (name == 'ways')}: expected at least {1 + (name == 'ways')}")
    counts = torch.bincount(labels.long().cpu())
    classes = (counts >= shots + queries).nonzero()[:, 0]
    if len(classes) < ways:
        raise ValueError(
            f"ways={ways}, shots={shots}, queries={queries}: only {len(classes)} classes have {shots + queries} samples; "
            "ask for fewer"
        )
    dtype = computed_in(features)
    points = features.to(dtype)
    points = unit_rows(points - (points.mean(0) if center is None else center.to(points)), dtype)
    members = {int(k): (labels.cpu() == k).nonzero()[:, 0] for k in classes}
    drawn = torch.stack([_drawn(members, classes, ways, shots + queries, seed, i) for i in range(episodes)])
    size = max(1, BATCH_ELEMENTS // (drawn[0].numel() * points.shape[1]))
    parts = [_accuracies(points[part.to(points.device)], shots) for part in drawn.split(size)]
    values = torch.cat(parts).double().cpu()
    half_width = 1.96 * float(values.std()) / math.sqrt(episodes) if episodes > 1 else math.nan
    return EpisodicResult(float(values.mean()), half_width, values)


def _drawn(members: dict[int, Tensor], classes: Tensor, ways: int, samples: int, seed: int, episode: int) -> Tensor:
    """Return the rows of an episode, ``(ways, samples) int64``."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + episode)
    chosen = classes[torch.randperm(len(classes), generator=generator)[:ways]].tolist()
    rows = [members[k][torch.randperm(len(members[k]), generator=generator)[:samples]] for k in chosen]
    return torch.stack(rows)


def _accuracies(points: Tensor, shots: int) -> Tensor:
    """Return the accuracy of each episode ``(episodes, ways, samples, D)``; the first ``shots`` samples have labels."""
    means, queries = points[:, :, :shots].mean(2), points[:, :, shots:]
    distance = torch.cdist(queries.flatten(1, 2), means)  # (episodes, ways * queries, ways)
    truth = torch.arange(points.shape[1], device=points.device).repeat_interleave(queries.shape[2])
    return (distance.argmin(2) == truth).double().mean(1)
