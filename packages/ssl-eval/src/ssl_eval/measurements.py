"""What a protocol takes of frozen features: from features to what ``eval/<name>.json`` holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_eval.accuracies import accuracy, balanced_accuracy, per_class_accuracy
from ssl_eval.agreement import adjusted_rand_index, cluster_accuracy, normalized_mutual_information
from ssl_eval.calibration import reliability
from ssl_eval.checks import check_split
from ssl_eval.class_means import nearest_class_mean
from ssl_eval.clusters import kmeans
from ssl_eval.confidence import bootstrap_interval
from ssl_eval.confusion import confusion_matrix
from ssl_eval.embedding_map import principal_components, tsne
from ssl_eval.few_labels import few_shot
from ssl_eval.hypersphere import alignment, uniformity
from ssl_eval.linear import linear_probe
from ssl_eval.metric_names import LABEL_FREE
from ssl_eval.neighbours import knn
from ssl_eval.protocol import Protocol
from ssl_eval.ranking import retrieval
from ssl_eval.ridge import ridge_probe
from ssl_eval.sgd import sgd_probe
from ssl_eval.spectrum import SPECTRAL, eigenvalues, lidar

SPECTRUM = 2048  # eigenvalues that are kept


@dataclass
class Features:
    """Frozen features of one encoder.

    Attributes
    ----------
    train, test : Tensor
        ``(N, D)`` and ``(M, D)``.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer in ``0..K-1``.
    class_names : sequence of str
        K words; numbers where there are none.
    views : Tensor, optional
        ``(n, q, D)``: q augmented views of n images, for LiDAR and the alignment.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    class_names: Sequence[str] = ()
    views: Tensor | None = None


@torch.no_grad()
def judge(features: Features, protocol: Protocol) -> dict[str, Any]:
    """Return the numbers of a protocol, as plain as JSON wants them; ``hits`` is a tensor.

    Parameters
    ----------
    features : Features
        Of the encoder that is judged.
    protocol : Protocol
        What to take.

    Returns
    -------
    dict
        ``settings``: the protocol. ``metrics``: name -> fraction in 0..1, label-free number, or mean, std, n and interval of
        repeated draws. Where the linear probe is asked for: ``interval`` (95 % bootstrap over test images), ``per_class``,
        ``confusion``, ``reliability`` and ``hits`` ``(M,) bool``. ``spectrum``: eigenvalues of the training features'
        covariance. ``map``: coordinates of a sample of the test images.

    Raises
    ------
    ValueError
        If features hold NaN, labels are missing, or a class is absent from the training part.
    """
    num_classes = check_split(features.train, features.train_labels, features.test, features.test_labels)
    result: dict[str, Any] = {"settings": asdict(protocol), "metrics": {}}
    _classify(features, protocol, result)
    if protocol.retrieval:
        found = retrieval(features.test, features.test_labels, ks=protocol.retrieval)
        result["metrics"] |= {f"recall_{k}": share for k, share in found.recall.items()}
        result["metrics"]["mean_average_precision"] = found.mean_average_precision
    if protocol.clustering:
        clusters = kmeans(features.test, num_classes, seed=protocol.seed).assignments
        result["metrics"] |= {
            "cluster_nmi": normalized_mutual_information(clusters, features.test_labels),
            "cluster_ari": adjusted_rand_index(clusters, features.test_labels),
            "cluster_accuracy": cluster_accuracy(clusters, features.test_labels),
        }
    if protocol.label_free:
        result["metrics"] |= label_free(features.train, features.views, protocol.uniformity_samples, protocol.seed)
        result["spectrum"] = eigenvalues(features.train)[:SPECTRUM].tolist()
    if protocol.map_samples:
        result["map"] = _map(features, protocol)
    return result


def label_free(
    features: Tensor,
    views: Tensor | None = None,
    uniformity_samples: int = 5000,
    seed: int = 0,
    measures: Sequence[str] = LABEL_FREE,
) -> dict[str, float]:
    """Return the measures that need no label, by name; those of views where there are any.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``.
    views : Tensor, optional
        ``(n, q, D)``: for LiDAR and the alignment.
    uniformity_samples : int
        Features whose pairs are compared.
    seed : int
        Of their choice.
    measures : sequence of str
        Of :data:`ssl_eval.metric_names.LABEL_FREE`; those of views are taken where there are views.

    Returns
    -------
    dict
        A measure that has no value (a power law needs two eigenvalues) is left out.

    Raises
    ------
    ValueError
        If features hold NaN.
    """
    values: dict[str, float] = {}
    for name in measures:
        try:
            if name in SPECTRAL:
                values[name] = SPECTRAL[name](features)
        except ValueError:
            if not bool(torch.isfinite(features).all()):
                raise
    if "uniformity" in measures and len(features) > 1:
        values["uniformity"] = uniformity(_sample(features, uniformity_samples, seed))
    if "lidar" in measures and views is not None:
        values["lidar"] = lidar(views)
    if "alignment" in measures and views is not None:
        values["alignment"] = alignment(views[:, 0], views[:, 1])
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _classify(features: Features, protocol: Protocol, result: dict[str, Any]) -> None:
    """Add what the classifiers give."""
    data = features.train, features.train_labels, features.test, features.test_labels
    metrics = result["metrics"]
    for k in sorted({min(k, len(features.train)) for k in protocol.knn}):
        scores = knn(*data[:3], k=k, temperature=protocol.temperature)
        metrics[f"knn_{k}"] = accuracy(scores, features.test_labels, topk=(1,))[0]
    if protocol.linear:
        scores = linear_probe(*data, seed=protocol.seed).scores
        names = list(features.class_names) or [str(number) for number in range(scores.shape[1])]
        diagram = reliability(scores.softmax(1), features.test_labels)
        hits = scores.argmax(1) == features.test_labels.to(scores.device)
        metrics["linear"] = accuracy(scores, features.test_labels, topk=(1,))[0]
        if scores.shape[1] > 5:
            metrics["linear_top5"] = accuracy(scores, features.test_labels, topk=(5,))[0]
        metrics["balanced_accuracy"] = balanced_accuracy(scores, features.test_labels)
        metrics["ece"] = diagram.expected_error
        result["interval"] = list(bootstrap_interval(hits, seed=protocol.seed))
        result["per_class"] = {"names": names, "accuracy": _plain(per_class_accuracy(scores, features.test_labels))}
        result["confusion"] = confusion_matrix(scores, features.test_labels).tolist()
        result["reliability"] = {
            "confidence": _plain(diagram.confidence),
            "accuracy": _plain(diagram.accuracy),
            "count": diagram.count.tolist(),
        }
        result["hits"] = hits
    if protocol.sgd:
        metrics["linear_sgd"] = sgd_probe(*data, seed=protocol.seed).accuracy
    if protocol.ridge:
        metrics["ridge"] = ridge_probe(*data).accuracy
    if protocol.class_means:
        scores = nearest_class_mean(*data[:3])
        metrics["class_means"] = accuracy(scores, features.test_labels, topk=(1,))[0]
    for labels in protocol.few:
        found = few_shot(*data, labels_per_class=labels, draws=protocol.draws, seed=protocol.seed)
        name = f"linear_{100 * labels:g}_percent" if labels < 1 else f"linear_{labels:g}_labels"
        spread = {"mean": found.mean, "std": found.std, "n": protocol.draws, "interval": list(found.interval)}
        metrics[name] = spread if protocol.draws > 1 else found.mean


def _map(features: Features, protocol: Protocol) -> Mapping[str, Any]:
    """Return the coordinates of a sample of the test images, to four digits."""
    chosen = _chosen(len(features.test), protocol.map_samples, protocol.seed)
    points = features.test[chosen.to(features.test.device)]
    maps = {}
    if min(points.shape) > 1:
        maps["pca"] = principal_components(points)
    if len(points) > 15 and points.shape[1] > 1:
        maps["tsne"] = tsne(points, perplexity=min(30.0, len(points) / 4))
    rounded = {name: [[float(f"{x:.4g}") for x in row] for row in each.tolist()] for name, each in maps.items()}
    return rounded | {"labels": features.test_labels[chosen].tolist()}


def _sample(features: Tensor, limit: int, seed: int) -> Tensor:
    return features[_chosen(len(features), limit, seed).to(features.device)]


def _chosen(samples: int, limit: int, seed: int) -> Tensor:
    if samples <= limit:
        return torch.arange(samples)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:limit].sort().values


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
