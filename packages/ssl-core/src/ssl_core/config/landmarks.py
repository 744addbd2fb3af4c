"""The configuration of landmark retrieval, the group ``eval.landmarks``. Nothing here imports torch."""

from dataclasses import dataclass

from ssl_core.config.schema import option
from ssl_core.errors import ConfigError


@dataclass
class Landmarks:
    """Landmark retrieval by the features of a frozen backbone, as on revisited Oxford and Paris.

    Radenović et al. 2018, https://arxiv.org/abs/1803.11285.
    """

    root: str | None = None  # folder with jpg/ and the ground truth, gnd_*.pkl, e.g. data/roxford5k
    ground_truth: str = ""  # ground-truth file, .pkl or .json; "": the only gnd_* file in root
    dataset: str = ""  # name of the data set in results; "": that of the folder
    size: int = option(0, low=0)  # longer side in pixels, larger images are reduced; 0: the image size of the run
    mean: list[float] | None = None  # mean of each channel, for pixels in 0..1; null: that of the run
    std: list[float] | None = option(None, above=0.0)  # standard deviation of each channel; null: that of the run
    batch_size: int = option(32, low=1)  # images of the same shape per batch of the feature extraction

    def check(self) -> None:
        """Raise a ConfigError without a folder."""
        if not self.root:
            expected = "a folder with jpg/ and gnd_*.pkl, e.g. data/roxford5k"
            raise ConfigError(key="eval.landmarks.root", value=self.root, expected=expected)
