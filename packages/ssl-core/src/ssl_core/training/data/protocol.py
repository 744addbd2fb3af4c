"""Protocol of data: any object with these methods is a data configuration."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Loader(Protocol):
    """Gives batches ``(views: list of (N, C, H, W) float, or one of them, labels (N,) int64, indices (N,) int64)``."""

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of one epoch."""

    def start(self, epoch: int, step: int) -> Any:
        """Set the first batch of the next iteration: batch ``step`` of ``epoch``."""

    # Optional, of the training loader, for methods that start with a pass over all samples (deepcluster_v2, pirl, smog):
    # in_order() returns a loader of every sample once, not shuffled, with the views of the epoch; shared by the ranks as before

    # Optional, for methods that compare places in the image (VICRegL): with_crops() returns a loader of the same batches with
    # a fourth part, the crops: V tensors (N, 5) float of top, left, height, width in pixels of the stored image, and flip


class ReferenceLoader(Protocol):
    """A reference loader that can be restricted to some of its images. Optional, and recommended for large data sets.

    An evaluation compares with ``log.knn_samples`` training images, a seeded sample with equal numbers of each class. Of a
    loader with both members only the sample is read. Any other loader is read once for its labels, and in each evaluation
    the images outside of the sample are read and dropped.
    """

    labels: Any  # (M,) int64, array or tensor: of the images of all ranks, in the order of iteration; -1: none

    def subset(self, positions: Any) -> Any:
        """Return the loader of the images at ``positions``, ascending ``(m,) int64`` array; shared by the ranks as before."""


class Loaders(Protocol):
    """The loaders of a run."""

    train: Any  # Loader: the views, shuffled
    reference: Any  # Loader: the training images under the evaluation view, every sample once, in order;
    # a ReferenceLoader where it can
    evaluation: Mapping[str, Any]  # name of a data set -> Loader: test images, evaluation view
    num_classes: int
    image_shape: tuple[int, int, int]  # (C, H, W) of one view
    # Optional: mean and std of each channel, by which pixels from 0 to 1 were normalized
    # Optional, to detect changed data on resume: fingerprint(), called on rank 0 only. It returns a dict, name of a part ->
    # dict of plain values that change with the data, such as num_samples and class_names


class Data(Protocol):
    """A data configuration. Its optional method ``check()`` is called before any data is opened."""

    def open(self, batch_size: int, seed: int, rank: int, world_size: int) -> Loaders:
        """Return the loaders of one rank; ``batch_size`` counts the samples over all ranks.

        A rank gets consecutive samples of the batch, rank 0 the first ones: then queues do not depend on the number of ranks.
        """

    # Optional, for fine-tuning on a share of the labels: labelled_part(fraction, seed, views) returns the data configuration
    # of that share and its number of images; views="": the default views

    # Optional, so that a method that does not fit is an error before the data is opened: view_sizes() returns the side in
    # pixels of each view of an image, has_labels() whether the training images have labels; None: known only when open
