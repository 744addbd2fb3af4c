"""Evaluation of frozen features by a protocol: the contents of ``eval/<name>.json``."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from ssl_eval.features import Features, Tokens
from ssl_eval.metrics.accuracy import accuracy, balanced_accuracy, per_class_accuracy
from ssl_eval.metrics.calibration import reliability
from ssl_eval.metrics.clustering import adjusted_rand_index, cluster_accuracy, normalized_mutual_information
from ssl_eval.metrics.confusion import confusion_matrix
from ssl_eval.metrics.ood import OODResult, ood_detection
from ssl_eval.metrics.retrieval import retrieval
from ssl_eval.pictured_rows import confident_errors, nearest_rows
from ssl_eval.probes.attentive import attentive_probe
from ssl_eval.probes.episodic import episodic_few_shot
from ssl_eval.probes.knn import knn
from ssl_eval.probes.linear import LinearProbeResult, linear_probe
from ssl_eval.probes.low_shot import few_shot
from ssl_eval.probes.multilayer import multilayer_linear_probe
from ssl_eval.probes.nearest_class_mean import nearest_class_mean
from ssl_eval.probes.ridge import ridge_probe
from ssl_eval.probes.sgd import sgd_probe
from ssl_eval.protocol import Protocol
from ssl_eval.representation.kmeans import kmeans
from ssl_eval.representation.label_free import label_free, sample_rows
from ssl_eval.representation.projection_2d import has_umap, principal_components, tsne, umap
from ssl_eval.representation.spectrum import eigenvalues
from ssl_eval.results import Result
from ssl_eval.statistics.intervals import bootstrap_interval

WAYS = 5  # classes of an episode
SPECTRUM = 2048  # eigenvalues that are kept
MAX_CONFUSION = 1000  # classes of a stored confusion matrix: 3 MB of JSON; 22,000 classes would be 1.5 GB


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult(Result):
    """Result of :func:`evaluate_features`; a part is None if the protocol omits it or the data do not allow it.

    Attributes
    ----------
    settings : dict
        The protocol.
    metrics : dict
        Name (of :mod:`ssl_eval.metrics.registry`) -> fraction in 0..1, label-free number, or mean, std, n and values of
        repeated draws.
    interval : list of float
        95 % bootstrap interval of the linear probe's accuracy, over test images.
    per_class, confusion, reliability : dict, list, dict
        Results of the linear probe: ``names`` and ``accuracy``; K lists of K counts, for 1,000 classes at most; ``confidence``,
        ``accuracy``, ``count`` of bins.
    neighbours : dict
        ``queries``, rows of the labelled test images, and ``rows``, for each query those of the eight nearest labelled training
        images by cosine, the nearest first.
    mistakes : dict
        ``rows`` of the labelled test images that the linear probe predicts wrongly with the highest probability, the highest
        first, their ``predicted`` classes and ``confidence``.
    map : dict
        ``pca`` and ``tsne`` (and ``umap`` if umap-learn is installed), the coordinates of a sample of the test images, and
        their ``labels``.
    spectrum : list of float
        The largest eigenvalues of the training features' covariance.
    ood : dict
        Name of each other data set -> number of its images, on which AUPR depends.
    omitted : dict
        Name -> why it cannot be computed of these data: no labels, too few samples of a class, a class without training
        samples, too many classes for a confusion matrix; or which package is missing.
    hits : Tensor
        ``(M,) bool``: which test images the linear probe classifies correctly.
    probe : LinearProbeResult
        The linear probe itself.
    """

    settings: dict[str, Any]
    metrics: dict[str, Any]
    interval: list[float] | None = None
    per_class: dict[str, list[Any]] | None = None
    confusion: list[list[int]] | None = None
    reliability: dict[str, list[Any]] | None = None
    neighbours: dict[str, list[Any]] | None = None
    mistakes: dict[str, list[Any]] | None = None
    map: dict[str, list[Any]] | None = None
    spectrum: list[float] | None = None
    ood: dict[str, int] | None = None
    omitted: dict[str, str] = field(default_factory=dict)
    hits: Tensor | None = None
    probe: LinearProbeResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of ``eval/<name>.json``: plain values, without ``hits``, ``probe`` and missing parts."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("hits", "probe")}
        return {name: value for name, value in values.items() if value is not None and (value or name != "omitted")}


@torch.no_grad()
def evaluate_features(features: Features, protocol: Protocol) -> EvaluationResult:
    """Evaluate features by a protocol.

    Parameters
    ----------
    features : Features
        Features of the encoder to evaluate. Samples without a label count for the label-free metrics only.
    protocol : Protocol
        The metrics to compute.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    ValueError
        If features hold NaN, or shapes or types disagree.
    """
    labelled = features.labelled()
    metrics: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    omitted: dict[str, str] = {}
    for name, compute in _parts(labelled, protocol):
        part = next(
            (part for part in ("train", "test") if _needs(name, part) and not len(getattr(labelled, part))), None
        )
        try:
            if part is not None:
                raise ValueError(f"no {'training' if part == 'train' else part} image has a label")
            found = compute()
            omitted |= found.pop("omitted", {})
        except ValueError as error:
            omitted[name] = " ".join(str(error).split())
            continue
        metrics |= found.pop("metrics", {})
        parts |= found
    if protocol.label_free:
        metrics |= label_free(features.train, features.views, protocol.uniformity_samples, protocol.seed)
        parts["spectrum"] = eigenvalues(features.train)[:SPECTRUM].tolist()
    if features.ood:
        parts["ood"] = {name: len(images) for name, images in features.ood.items()}
    return EvaluationResult(asdict(protocol), metrics, **parts, omitted=omitted)


def _parts(features: Features, protocol: Protocol) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Give the parts of a protocol that need labels: a name, and a function that returns entries of the result."""
    data = features.train, features.train_labels, features.test, features.test_labels
    classes = torch.cat([features.train_labels.cpu(), features.test_labels.cpu()]).unique()
    num_classes = max(len(features.class_names), int(classes.max()) + 1 if len(classes) else 0)

    def top1(scores: Tensor) -> float:
        return accuracy(scores, features.test_labels, topk=(1,))[0]

    def nearest(k: int) -> dict[str, Any]:
        scores = knn(*data[:3], k=k, temperature=protocol.temperature, num_classes=num_classes)
        return {"metrics": {f"knn_{k}": top1(scores)}}

    def few(name: str, labels: float) -> dict[str, Any]:
        found = few_shot(*data, labels_per_class=labels, draws=protocol.draws, seed=protocol.seed)
        spread = {"mean": found.mean, "std": found.std, "n": protocol.draws, "values": list(found.accuracies)}
        return {"metrics": {name: spread if protocol.draws > 1 else found.mean}}

    for k in sorted({min(k, len(features.train) or k) for k in protocol.knn}):
        yield f"knn_{k}", partial(nearest, k)
    probe = cache(lambda: linear_probe(*data, seed=protocol.seed))
    if protocol.linear:
        yield "linear", lambda: _linear(features, protocol, probe())
    if protocol.sgd:
        yield "linear_sgd", lambda: {"metrics": {"linear_sgd": sgd_probe(*data, seed=protocol.seed).accuracy}}
    if protocol.ridge:
        yield "ridge", lambda: {"metrics": {"ridge": ridge_probe(*data).accuracy}}
    if protocol.attentive_probe:
        yield "attentive_probe", partial(_attentive, features, protocol.seed)
    if protocol.multilayer_linear_probe:
        yield "multilayer_linear_probe", partial(_multilayer, features, protocol.seed)
    if protocol.class_means:
        yield "class_means", lambda: {"metrics": {"class_means": top1(nearest_class_mean(*data[:3]))}}
    for labels in protocol.few:
        name = f"linear_{100 * labels:g}_percent" if labels < 1 else f"linear_{labels:g}_labels"
        yield name, partial(few, name, labels)
    for shots in protocol.episodic:
        yield f"episodic_{shots}_shot", partial(_episodic, features, shots, protocol.seed)
    if protocol.retrieval:
        yield "retrieval", partial(_retrieval, features, protocol)
    if protocol.clustering:
        yield "clustering", partial(_clustering, features, len(classes), protocol.seed)
    if protocol.pictures:
        yield "neighbours", lambda: {"neighbours": nearest_rows(features, protocol.pictures, protocol.seed)}
    for name in features.ood:
        yield f"ood_{name}", partial(_ood, features, name, protocol, probe)
    if protocol.map_samples:
        yield "map", partial(_map, features, protocol)


def _needs(name: str, part: str) -> bool:
    """Return whether a part of a protocol needs labels of the training or of the test images."""
    return part == "test" or not name.startswith(("retrieval", "clustering", "map", "episodic"))


def _linear(features: Features, protocol: Protocol, probe: LinearProbeResult) -> dict[str, Any]:
    """Return the results of the linear probe: accuracies, their interval, per class, confusion, calibration and hits."""
    labels, scores = features.test_labels, probe.scores
    names = list(features.class_names) or [str(number) for number in range(scores.shape[1])]
    diagram = reliability(scores.softmax(1), labels)
    hits = scores.argmax(1) == labels.to(scores.device)
    metrics = {"linear": accuracy(scores, labels, topk=(1,))[0]}
    if scores.shape[1] > 5:
        metrics["linear_top5"] = accuracy(scores, labels, topk=(5,))[0]
    metrics["balanced_accuracy"] = balanced_accuracy(scores, labels)
    metrics["ece"] = diagram.expected_error
    count = 2 * protocol.pictures
    found: dict[str, Any] = {"mistakes": confident_errors(scores, labels, count)} if count else {}
    found |= {
        "metrics": metrics,
        "interval": list(bootstrap_interval(hits, seed=protocol.seed)),
        "per_class": {"names": names[: scores.shape[1]], "accuracy": _plain(per_class_accuracy(scores, labels))},
        "reliability": {
            "confidence": _plain(diagram.confidence),
            "accuracy": _plain(diagram.accuracy),
            "count": diagram.count.tolist(),
        },
        "hits": hits,
        "probe": probe,
    }
    if scores.shape[1] > MAX_CONFUSION:
        reason = f"{scores.shape[1]:,} classes; a confusion matrix is stored for {MAX_CONFUSION:,} classes at most"
        return found | {"omitted": {"confusion": reason}}
    return found | {"confusion": confusion_matrix(scores, labels).tolist()}


def _attentive(features: Features, seed: int) -> dict[str, Any]:
    tokens = _tokens(features)
    found = attentive_probe(tokens.train, features.train_labels, tokens.test, features.test_labels, seed=seed)
    return {"metrics": {"attentive_probe": found.accuracy}}


def _multilayer(features: Features, seed: int) -> dict[str, Any]:
    tokens = _tokens(features)
    blocks = sorted({1, min(4, tokens.train_blocks.shape[1])})
    data = tokens.train_blocks, features.train_labels, tokens.test_blocks, features.test_labels
    return {"metrics": {"multilayer_linear_probe": multilayer_linear_probe(*data, blocks=blocks, seed=seed).accuracy}}


def _tokens(features: Features) -> Tokens:
    if features.tokens is None:
        raise ValueError("the backbone has no tokens; expected a vision transformer, such as vit_tiny")
    return features.tokens


def _episodic(features: Features, shots: int, seed: int) -> dict[str, Any]:
    center = features.train.double().mean(0) if len(features.train) else None
    found = episodic_few_shot(features.test, features.test_labels, WAYS, shots, center=center, seed=seed)
    interval = [found.mean - found.half_width, found.mean + found.half_width]
    name = f"episodic_{WAYS}_way_{shots}_shot"
    return {"metrics": {name: {"mean": found.mean, "interval": interval, "n": len(found.accuracies)}}}


def _retrieval(features: Features, protocol: Protocol) -> dict[str, Any]:
    found = retrieval(features.test, features.test_labels, ks=protocol.retrieval)
    metrics = {f"recall_{k}": share for k, share in found.recall.items()}
    return {"metrics": metrics | {"mean_average_precision": found.mean_average_precision}}


def _ood(features: Features, name: str, protocol: Protocol, probe: Callable[[], LinearProbeResult]) -> dict[str, Any]:
    """Return how well each score separates the test images from those of another data set; the probe is fitted once."""
    k = min(protocol.ood_k, len(features.train))
    data = features.train, features.train_labels, features.test, features.ood[name]
    fitted = None
    with suppress(ValueError):  # of its test labels, which are not needed here
        fitted = probe()
    found = ood_detection(*data, k=k, seed=protocol.seed, probe=fitted)
    measures = [(measure.name, score) for measure in fields(OODResult) for score in found]
    metrics = {f"ood_{each}_{name}_by_{score}": getattr(found[score], each) for each, score in measures}
    return {"metrics": metrics}


def _clustering(features: Features, num_classes: int, seed: int) -> dict[str, Any]:
    clusters = kmeans(features.test, num_classes, seed=seed).assignments
    metrics = {
        "cluster_nmi": normalized_mutual_information(clusters, features.test_labels),
        "cluster_ari": adjusted_rand_index(clusters, features.test_labels),
    }
    omitted = _add_optional(metrics, "cluster_accuracy", lambda: cluster_accuracy(clusters, features.test_labels))
    return {"metrics": metrics, "omitted": omitted}


def _add_optional(values: dict[str, Any], name: str, compute: Callable[[], Any]) -> dict[str, str]:
    """Store what needs an optional package under its name; return ``{name: reason}`` if the package is missing."""
    try:
        values[name] = compute()
    except ImportError as error:
        return {name: str(error)}
    return {}


def _map(features: Features, protocol: Protocol) -> dict[str, Any]:
    """Return the coordinates of a sample of the test images, to four digits."""
    chosen = sample_rows(len(features.test), protocol.map_samples, protocol.seed)
    points = features.test[chosen.to(features.test.device)]
    maps: dict[str, Tensor] = {}
    omitted = {}
    if min(points.shape) > 1:
        maps["pca"] = principal_components(points)
    if len(points) > 15 and points.shape[1] > 1:
        omitted = _add_optional(maps, "tsne", lambda: tsne(points, perplexity=min(30.0, len(points) / 4)))
        if has_umap():
            omitted |= _add_optional(maps, "umap", lambda: umap(points, seed=protocol.seed))
    rounded = {name: [[float(f"{x:.4g}") for x in row] for row in each.tolist()] for name, each in maps.items()}
    return {"map": rounded | {"labels": features.test_labels[chosen].tolist()}, "omitted": omitted}


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
