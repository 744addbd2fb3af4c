"""The classifiers of a protocol, fitted to the training features of a run and applied to any features."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_eval import Features, Protocol, knn, linear_probe
from ssl_eval.probes.linear import LinearProbeResult

Classifier = Callable[..., Tensor]  # features (M, D), classes=None -> scores (M, K)


def fitted_classifiers(
    features: Features, protocol: Protocol, probe: LinearProbeResult | None = None
) -> dict[str, Classifier]:
    """Return the linear probe and kNN of a protocol by their names, such as ``linear`` and ``knn_20``.

    Called with ``classes=(c,) int64``, kNN compares with the training images of these classes only. ``probe`` is the linear
    probe of these features, if it has been fitted before.

    Raises
    ------
    ValueError
        As :func:`ssl_eval.linear_probe`.
    """
    known = features.labelled()
    found: dict[str, Classifier] = {}
    if protocol.linear:
        probe = probe or linear_probe(
            known.train, known.train_labels, known.train[:1], known.train_labels[:1], seed=protocol.seed
        )
        found["linear"] = partial(_linear, probe.weight, probe.bias)
    num_classes = max(len(features.class_names), int(known.train_labels.max()) + 1)
    for k in sorted({min(k, len(known.train)) for k in protocol.knn}):
        found[f"knn_{k}"] = partial(_nearest, known, k, protocol.temperature, num_classes)
    return found


def _linear(weight: Tensor, bias: Tensor, features: Tensor, classes: Any = None) -> Tensor:
    return features.to(weight) @ weight.T + bias


def _nearest(
    known: Features, k: int, temperature: float, num_classes: int, features: Tensor, classes: Tensor | None = None
) -> Tensor:
    train, labels = known.train, known.train_labels
    if classes is not None:
        kept = torch.isin(labels, classes.to(labels.device))
        train, labels = train[kept.to(train.device)], labels[kept]
    options: dict[str, Any] = {"temperature": temperature, "num_classes": num_classes}
    return knn(train, labels, features.to(train), k=min(k, len(train)), **options)
