"""Zero-shot classification: the text features of the classes are the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.vectors import unit_rows
from ssl_eval.results import ProbeResult
from ssl_eval.suggestion import did_you_mean
from ssl_eval.validation import check_features, check_labels, check_tensor, computed_in


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShotResult(ProbeResult):
    """Result of :func:`zero_shot`: ``accuracy`` and ``scores`` (the cosine over the temperature).

    Attributes
    ----------
    top5 : float
        Top-5 accuracy; 1 with five classes or fewer.
    """

    top5: float


@torch.no_grad()
def zero_shot(
    image_features: Tensor,
    labels: Tensor,
    text_features: Tensor,
    temperature: float = 0.01,
    class_names: Sequence[str] | None = None,
    text_names: Sequence[str] | None = None,
) -> ZeroShotResult:
    """Classify images by the cosine between their features and those of a text for each class.

    Parameters
    ----------
    image_features : Tensor
        ``(M, D)``.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.
    text_features : Tensor
        ``(K, D)``, or ``(K, T, D)`` of T templates ("a photo of a ...", ...), of which the class gets the mean of the
        normalised features, as in CLIP.
    temperature : float
        The cosine is divided by it: 0.01 is that of CLIP's published models (a logit scale of 100). It changes probabilities,
        not accuracies.
    class_names : sequence of str, optional
        K names, of the labels.
    text_names : sequence of str, optional
        K names, of the rows of ``text_features``, in any order: rows are assigned to classes by name. Needs ``class_names``.

    Returns
    -------
    ZeroShotResult

    Raises
    ------
    ValueError
        If features hold NaN, widths or numbers disagree, a class has no text or a name appears twice, the templates of a class
        cancel out, or the temperature is not above 0.

    References
    ----------
    Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021,
    https://arxiv.org/abs/2103.00020, and the notebook ``Prompt_Engineering_for_ImageNet`` of https://github.com/openai/CLIP.

    Examples
    --------
    >>> images, labels = torch.tensor([[3.0, 0.1], [0.2, 1.0]]), torch.tensor([0, 1])
    >>> text = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> zero_shot(images, labels, text, class_names=["cat", "dog"], text_names=["dog", "cat"]).accuracy
    1.0
    """
    check_features("image_features", image_features)
    check_tensor("text_features", text_features)
    if text_features.ndim not in (2, 3):
        raise ValueError(f"text_features must be (K, D) or (K, templates, D), got shape {tuple(text_features.shape)}")
    check_features("text_features", text_features.flatten(0, -2))
    if text_features.shape[-1] != image_features.shape[1]:
        raise ValueError(
            "image_features and text_features must have the same width D, got "
            f"{image_features.shape[1]} and {text_features.shape[-1]}"
        )
    num_classes = len(text_features)
    check_labels("labels", labels, len(image_features), num_classes)
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: expected above 0")
    dtype = computed_in(image_features, text_features)
    text = unit_rows(text_features.flatten(0, -2), dtype)
    if text_features.ndim == 3:
        means = text.unflatten(0, text_features.shape[:2]).mean(1)
        lengths = means.norm(dim=1)
        if not bool((lengths > 1e-6).all()):
            raise ValueError(
                f"text_features: the templates of class {int(lengths.argmin())} cancel out; their mean is zero"
            )
        text = unit_rows(means, dtype)
    order = _order(class_names, text_names, num_classes)
    if order is not None:
        text = text[order]
    scores = unit_rows(image_features, dtype) @ text.to(image_features.device).T / temperature
    top1, top5 = accuracy(scores, labels, topk=(1, min(5, num_classes)))
    return ZeroShotResult(top1, scores, top5)


def _order(class_names: Sequence[str] | None, text_names: Sequence[str] | None, num_classes: int) -> list[int] | None:
    """Return the row of the text of each class, or None where the rows are in the order of the classes."""
    for what, names in (("class_names", class_names), ("text_names", text_names)):
        if names is None:
            continue
        if len(names) != num_classes:
            raise ValueError(
                f"{what} must have {num_classes} names, one for each row of text_features, got {len(names)}"
            )
        twice = sorted({name for name in names if list(names).count(name) > 1})
        if twice:
            raise ValueError(f"{what}: {twice[0]!r} appears twice; expected a different name for each class")
    if text_names is None:
        return None
    if class_names is None:
        raise ValueError("text_names assigns texts to classes by name: give class_names, too")
    rows = {name: row for row, name in enumerate(text_names)}
    missing = [name for name in class_names if name not in rows]
    if missing:
        others = [name for name in text_names if name not in class_names]
        raise ValueError(
            f"text_names has no {missing[0]!r}, a class of the images ({len(missing)} are missing)"
            f"{did_you_mean(missing[0], others)}"
        )
    return [rows[name] for name in class_names]
