"""What a source may offer beyond the protocol, also through subsets and other labels."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import FolderSource, Loader, Relabelled, Subset, ViewSpec
from ssl_data.sources.source import FingerprintedSource, JPEGSource, ScaledSource


class Scaled:
    """A user-defined source in memory that shrinks by the mean of blocks, and remembers what was asked for."""

    images, class_names, scaled_decoding = None, ["a"], True

    def __init__(self, pixels):
        self.pixels, self.shrinks = pixels, []
        self.labels, self.ids = np.zeros(len(pixels), np.int64), np.arange(len(pixels))

    def __len__(self):
        return len(self.pixels)

    def image(self, position):
        return self.pixels[position]

    def size(self, position):
        return self.pixels.shape[1:3]

    def shrunk(self, position, shrink):
        self.shrinks.append(shrink)
        height, width = (side // shrink for side in self.pixels.shape[1:3])
        blocks = self.pixels[position].reshape(height, shrink, width, shrink, 3)
        return blocks.mean((1, 3)).round().astype(np.uint8)


@pytest.fixture
def scaled(noise):
    return Scaled(np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), dtype=np.uint8))


def views_of(source):
    loader = Loader(source, [ViewSpec(size=16)], 2, shuffle=False, num_workers=1)
    return torch.cat([batch[0][0] for batch in loader])


@pytest.mark.parametrize("derive", [lambda s: Subset(s, np.arange(2, 6)), lambda s: Relabelled(s, np.arange(6) % 2)])
def test_scaled_decoding_is_used_where_the_source_offers_it(scaled, derive):
    """The shorter side of 64 pixels becomes 16: a quarter is enough. Mean of blocks: close to the whole image resized."""
    derived = derive(scaled)
    assert isinstance(derived, ScaledSource)
    made = views_of(derived)
    assert scaled.shrinks == [4] * len(derived)
    scaled.scaled_decoding = False
    whole = views_of(derive(scaled))
    assert len(scaled.shrinks) == len(derived)
    assert 0 < (made - whole).abs().mean() < 0.05


def test_jpeg_files_are_offered_through_a_subset(tmp_path, scaled):
    (tmp_path / "a").mkdir()
    Image.fromarray(scaled.pixels[0]).save(tmp_path / "a" / "0.png")
    Image.fromarray(scaled.pixels[1]).save(tmp_path / "a" / "1.jpg")
    part = Subset(FolderSource(tmp_path), np.array([1, 0]))
    stored, height, width = part.jpeg(0)
    assert stored.tobytes() == (tmp_path / "a" / "1.jpg").read_bytes()
    assert (height, width) == (64, 96)
    assert part.jpeg(1) is None
    assert Subset(scaled, np.arange(2)).jpeg(0) is None
    assert isinstance(part, JPEGSource)
    assert isinstance(part, FingerprintedSource)
    assert not isinstance(scaled, JPEGSource | FingerprintedSource)
