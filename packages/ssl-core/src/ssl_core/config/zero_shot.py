"""The configuration of zero-shot classification, the group ``eval.zero_shot``. Nothing here imports torch."""

from dataclasses import dataclass

from ssl_core.errors import ConfigError

SUFFIXES = (".pt", ".pth", ".npy", ".npz")  # of files of text features


@dataclass
class ZeroShot:
    """Zero-shot classification of the test images of a run by given text features, as in CLIP.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020.
    """

    text_features: str | None = None  # file with the text features of K classes, (K, D), or (K, T, D) for T templates
    # representation of the images: a name of encode(), such as projector or backbone. auto: the projector if it has the width
    # of the text features, else the first one with this width
    features: str = "auto"

    def check(self) -> None:
        """Raise a ConfigError without a file, and for a file of another kind."""
        if not self.text_features or not self.text_features.endswith(SUFFIXES):
            expected = f"a file of text features ({', '.join(SUFFIXES)}), one row for each class"
            raise ConfigError(key="eval.zero_shot.text_features", value=self.text_features, expected=expected)
