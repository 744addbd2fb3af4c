"""The configuration of a dense evaluation, the group ``eval.dense``. Nothing here imports torch."""

from dataclasses import dataclass

from ssl_core.config.schema import option
from ssl_core.errors import ConfigError


@dataclass
class DenseEvaluation:
    """Dense evaluation: segmentation or depth from the patch tokens of a frozen backbone.

    Segmentation and depth by a linear layer on patch tokens follow DINOv2 (Oquab et al. 2023,
    https://arxiv.org/abs/2304.07193, section 7.4), segmentation by nearest patches follows CAPI (Darcet et al. 2025,
    https://arxiv.org/abs/2502.08769).
    """

    root: str | None = None  # folder of the images and their maps: images/ and masks/ or depth/, VOC, or ADE20K
    targets: str = option("masks", choices=("masks", "depth"))  # masks: segmentation; depth: depth maps
    dataset: str = ""  # name of the data set in results; "": that of the folder
    size: int = option(0, low=0)  # side in pixels, a multiple of the patch size; 0: the image size of the run
    num_classes: int = option(0, low=0)  # number of classes; 0: that of the masks
    reduce_zero_label: bool | None = None  # ignore class 0 and number the others from 0; null: for ADE20K only
    mean: list[float] | None = None  # mean of each channel, for pixels in 0..1; null: that of the run
    std: list[float] | None = option(None, above=0.0)  # standard deviation of each channel; null: that of the run
    depth_scale: float = option(1000.0, above=0.0)  # stored value of one unit of depth in an image file
    test_fraction: float = option(0.2, above=0.0, below=1.0)  # share of test images, if the data set has no parts
    train_images: int = option(2000, low=0)  # training images, drawn at random; 0: all. They are held in memory
    linear: bool = True  # linear layer on the tokens: mean IoU, or RMSE
    knn: bool = True  # nearest patches of training images (masks only)
    references: int = option(20_000, low=1)  # training patches that kNN compares with
    pictures: int = option(6, low=0)  # test images in the picture, with predictions and clusters of tokens; 0: none
    clusters: int = option(8, low=1)  # clusters of the tokens of the picture, by k-means
    batch_size: int = option(32, low=1)  # images per batch of the token extraction
    seed: int = option(0, low=0)  # random seed of drawn and held-out images, references, batches and clusters

    def check(self) -> None:
        """Raise a ConfigError without a folder, or if nothing is computed."""
        if not self.root:
            raise ConfigError(
                key="eval.dense.root",
                value=self.root,
                expected="the folder of the images and their maps, e.g. data/VOC2012",
            )
        if not (self.linear or (self.knn and self.targets == "masks")):
            raise ConfigError(
                key="eval.dense.linear", value=self.linear, expected="true, or eval.dense.knn=true for masks"
            )
