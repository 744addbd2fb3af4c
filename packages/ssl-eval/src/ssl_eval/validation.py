"""Checks of the arguments of functions on features. Errors name the invariant, the value and the remedy."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**22  # checked at a time: 16 MiB in float32
SMALLEST, LARGEST = 2.0**-400, 2.0**400  # limits of the largest feature, so that sums of squares fit into float64
MAX_CLASSES = 2**20  # K above which class numbers without gaps need at least K samples
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch has few operations for them
UNEVEN = 1e6  # ratio of a row's size to the median row's above which mean and deviation are determined by this row


def check_tensor(name: str, value: Tensor) -> None:
    """Raise ``ValueError`` unless ``value`` is a tensor; for lists and numpy arrays it names the conversion."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a torch.Tensor, got {type(value).__name__}; try torch.as_tensor({name})")


def check_real(name: str, values: Tensor) -> None:
    """Raise ``ValueError`` unless ``values`` is a dense tensor of real numbers in a dtype that can be computed with."""
    check_tensor(name, values)
    if values.layout != torch.strided or values.is_meta:
        raise ValueError(
            f"{name} must be dense and hold values, got {values.layout} on {values.device}; try .to_dense()"
        )
    if values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} must hold real numbers, got {values.dtype}")
    if (values.is_floating_point() and values.element_size() == 1) or values.dtype in UNSIGNED:
        raise ValueError(f"{name} must have a dtype with arithmetic, got {values.dtype}; try .float()")


def check_values(name: str, values: Tensor, least: int) -> None:
    """Raise ``ValueError`` unless ``values`` is ``(n,)``, finite, n at least ``least``."""
    check_real(name, values)
    if values.ndim != 1 or len(values) < least or not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name} must be (n,) finite numbers with n at least {least}, got {in_one_line(values)}")


def in_one_line(values: Tensor) -> str:
    """Return a tensor as a short text for an error."""
    text = " ".join(repr(values).split())
    return text if len(text) <= 120 else f"{text[:119]}…"


def check_features(name: str, features: Tensor) -> None:
    """Raise ``ValueError`` unless ``features`` is a finite ``(N, D)`` tensor with at least one row and one column.

    Finite means that sums of squares fit into float64: the largest value is 0, or between 1e-120 and 1e120 in size.
    """
    check_tensor(name, features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"{name} must be (N, D) with N and D at least 1, got shape {tuple(features.shape)}; "
            "flatten the rest with .flatten(1)"
        )
    check_real(name, features)
    # Both extremes are finite only if all values are: one pass without a copy. Rows are checked only after a failure.
    ends = [float(value) for value in torch.aminmax(features)]
    if not all(map(math.isfinite, ends)):
        chunks = features.split(max(1, CHUNK_ELEMENTS // features.shape[1]))
        bad = torch.cat([~torch.isfinite(chunk).all(1) for chunk in chunks])
        rows = bad.nonzero()[:, 0]
        raise ValueError(
            f"{name} must be finite: {len(rows)} of {len(features)} rows hold NaN or infinity, the first is row "
            f"{int(rows[0])}; has the training diverged?"
        )
    largest = max(map(abs, ends))
    if largest > LARGEST or 0 < largest < SMALLEST:
        row = int(_row_sizes(features).argmax())
        raise ValueError(
            f"the largest value of {name} must be between 1e-120 and 1e120, so that squares fit into float64, got "
            f"{largest:.3g} in row {row}; rescale the features"
        )


def check_even(name: str, features: Tensor) -> None:
    """Raise ``ValueError`` if one row is so large that it determines mean and deviation of ``features``.

    After standardisation all other rows would be equal up to rounding.
    """
    sizes = _row_sizes(features)
    typical, largest = float(sizes[sizes > 0].median()) if bool((sizes > 0).any()) else 0.0, float(sizes.max())
    if largest > UNEVEN * typical:
        raise ValueError(
            f"{name} must have rows of comparable size, otherwise all but one are lost in rounding; got {largest:.3g} as the "
            f"largest value of row {int(sizes.argmax())} and {typical:.3g} in the median row; leave it out, or "
            "normalise all rows"
        )


def _row_sizes(features: Tensor) -> Tensor:
    """Return the largest absolute value of each row, ``(N,) float64``."""
    chunks = features.split(max(1, CHUNK_ELEMENTS // features.shape[1]))
    return torch.cat(
        [(chunk if chunk.is_floating_point() else chunk.double()).abs().amax(1).double() for chunk in chunks]
    )


def typical_row(features: Tensor) -> Tensor:
    """Return a row ``(D,)`` of median size among about 4,096: an origin near the other rows, robust to outliers."""
    sample = features[:: max(1, len(features) // 4096)]
    return sample[int(_row_sizes(sample).median(0).indices)]


def check_labels(name: str, labels: Tensor, num_samples: int, num_classes: int | None = None) -> None:
    """Raise ``ValueError`` unless ``labels`` is ``(num_samples,)``, integer, within ``0..num_classes - 1``."""
    check_tensor(name, labels)
    if labels.shape != (num_samples,):
        raise ValueError(f"{name} must be ({num_samples},), one a sample, got shape {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype in (torch.bool, *UNSIGNED):
        raise ValueError(f"{name} must be integers (class numbers), got {labels.dtype}; try .long()")
    if num_samples == 0:
        return
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0:
        raise ValueError(f"{name} must be 0 or more, got {low}; leave out the samples without a label first")
    if num_classes is not None and high >= num_classes:
        raise ValueError(f"{name} must be below num_classes={num_classes}, got {high}")
    if num_classes is None and high >= max(MAX_CLASSES, num_samples):
        raise ValueError(
            f"{name} must be class numbers 0..K-1, got {high} with {num_samples} samples, and each class needs "
            f"memory; renumber the classes: {name}.unique(return_inverse=True)[1]"
        )


def check_pair(train_features: Tensor, test_features: Tensor) -> None:
    """Check both and raise ``ValueError`` unless they have the same width and lie on the same device."""
    check_features("train_features", train_features)
    if isinstance(test_features, Tensor) and train_features.device != test_features.device:
        raise ValueError(
            f"train_features lies on {train_features.device} and test_features on {test_features.device}; "
            "move both to one device"
        )
    check_features("test_features", test_features)
    if train_features.shape[1] != test_features.shape[1]:
        raise ValueError(
            "train_features and test_features must have the same width D, got "
            f"{train_features.shape[1]} and {test_features.shape[1]}"
        )


def check_every_class(labels: Tensor) -> int:
    """Return K, one more than the largest label; raise ``ValueError`` if a class below it has no sample."""
    counts = torch.bincount(labels)
    absent = (counts == 0).nonzero()[:, 0].tolist()
    if absent:
        shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        raise ValueError(
            f"every class 0..{len(counts) - 1} needs a sample in train_labels, got none of class {shown}; "
            "give more training samples, or renumber the classes without gaps"
        )
    return len(counts)


def check_split(train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor) -> int:
    """Check the training and test set of a classifier and return K. Raises ``ValueError`` as the checks above do."""
    check_pair(train_features, test_features)
    check_labels("train_labels", train_labels, len(train_features))
    num_classes = check_every_class(train_labels)
    check_labels("test_labels", test_labels, len(test_features), num_classes)
    return num_classes


def chosen_from(regularization: float | None, candidates: Sequence[float]) -> tuple[float, ...]:
    """Return the regularisations to choose from: the given one, or the candidates; all must be above 0."""
    candidates = tuple(candidates) if regularization is None else (regularization,)
    if not candidates or not min(candidates) > 0:
        raise ValueError(f"regularization must be above 0, got {', '.join(map(str, candidates)) or 'no candidates'}")
    return candidates


def computed_in(*features: Tensor) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64 features and for those whose squares overflow or underflow in
    float32, else float32.
    """
    for each in features:
        largest = max(abs(float(value)) for value in torch.aminmax(each))
        if largest > 2**55 or 0 < largest < 2**-35:
            return torch.float64
    return returned_in(*features)


def returned_in(*features: Tensor) -> torch.dtype:
    """Return float64 if one of ``features`` has this dtype, else float32 (half precision, integers)."""
    return torch.float64 if any(each.dtype == torch.float64 for each in features) else torch.float32
