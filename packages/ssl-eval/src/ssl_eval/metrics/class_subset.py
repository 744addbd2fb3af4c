"""Test sets with a part of the training classes, such as ImageNet-A, -R, -Sketch and -V2."""

from collections.abc import Sequence

import torch
from torch import Tensor


def matched_classes(names: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return the training class of each class of a test set, by its name; -1 for one that was not trained on.

    Names are compared exactly. If none of them is the name of a training class, and all are numbers below the number of
    training classes, they are read as labels: the folders of ImageNet-V2 are numbered.

    Parameters
    ----------
    names : sequence of str
        The classes of the test set, e.g. its folders: ``["n01498041", ...]``.
    class_names : sequence of str
        The K training classes, in the order of the labels.

    Returns
    -------
    list of int
        For each name the label of the training class, in ``0..K-1``, or -1.

    Raises
    ------
    ValueError
        If fewer than two classes are those of the training.

    Examples
    --------
    >>> matched_classes(["n02", "n03", "n09"], ["n01", "n02", "n03"]), matched_classes(["0", "10", "2"], list("abcdefghijk"))
    ([1, 2, -1], [0, 10, 2])
    """
    places = {name: place for place, name in enumerate(class_names)}
    found = [places.get(name, -1) for name in names]
    numbers = [int(name) if name.isascii() and name.isdigit() else -1 for name in names]
    if max(found, default=-1) < 0 and all(0 <= number < len(class_names) for number in numbers):
        found = numbers
    if len({place for place in found if place >= 0}) < 2:
        shown, trained = (", ".join(map(repr, each[:3])) for each in (list(names), list(class_names)))
        raise ValueError(
            f"expected at least two of the {len(class_names)} training classes ({trained}, ...), or their numbers, got "
            f"{len(names)} classes ({shown}, ...)"
        )
    return found


def subset_scores(scores: Tensor, classes: Tensor) -> Tensor:
    """Return scores ``(M, K)`` with minus infinity for all classes but ``classes``: none of them is predicted.

    The accuracy is that of the authors of ImageNet-A and ImageNet-R, who index the logits with the classes of the test set.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is more likely.
    classes : Tensor
        ``(k,)`` integer: the labels of the test set's classes, in ``0..K-1``.

    Examples
    --------
    >>> subset_scores(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([1, 2]))
    tensor([[  -inf, 0.3000, 0.2000]])
    """
    kept = torch.full_like(scores, -torch.inf)
    kept[:, classes] = scores[:, classes]
    return kept
