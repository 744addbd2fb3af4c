"""Clusters of patch tokens, and their picture."""

import pytest
import torch

from ssl_eval import adjusted_rand_index, token_clusters
from ssl_eval.figures.images.pixel_maps import CLASS_COLORS, pixel_map_figure
from ssl_eval.figures.style import NothingToDraw, paper, save


def test_token_clusters_equal_scikit_learns_kmeans():
    """Oracle: KMeans of scikit-learn on the same tokens, centred and of length one."""
    cluster = pytest.importorskip("sklearn.cluster")
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 6, generator=generator)
    truth = torch.randint(4, (3, 20), generator=generator)
    tokens = 5 + centers[truth] + 0.2 * torch.randn(3, 20, 6, generator=generator)
    found = token_clusters(tokens, num_clusters=4)
    rows = tokens.flatten(0, 1) - tokens.flatten(0, 1).mean(0)
    rows = rows / rows.norm(dim=1, keepdim=True)
    expected = cluster.KMeans(4, n_init=10, random_state=0).fit_predict(rows.numpy())
    assert adjusted_rand_index(found.flatten(), torch.from_numpy(expected).long()) == 1
    sizes = torch.bincount(found.flatten(), minlength=4).tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert torch.equal(token_clusters(3 * tokens, num_clusters=4), found)
    with pytest.raises(ValueError, match=r"tokens must be \(N, L, D\), got \(20, 6\)"):
        token_clusters(tokens[0])


def test_pixel_maps_have_the_colours_of_their_classes(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    images = torch.rand(3, 3, 8, 8)
    masks = torch.tensor([[0, 1], [255, 2]]).expand(3, 2, 2)
    with paper():
        figure = pixel_map_figure(images, {"mask": masks}, {"k-means": masks % 2})
        save(figure, tmp_path / "maps.png")
    assert [text.get_text() for text in figure.texts] == ["image", "mask", "k-means"]
    drawn = figure.axes[3].images[0].get_array()
    colours = [CLASS_COLORS[0], CLASS_COLORS[1], "#FFFFFF", CLASS_COLORS[2]]
    expected = torch.tensor([matplotlib.colors.to_rgb(colour) for colour in colours])
    torch.testing.assert_close(torch.tensor(drawn).view(4, 3).float(), expected)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 0", "class 1", "class 2"]
    assert len(set(CLASS_COLORS)) == 12


def test_depth_maps_share_a_scale():
    pytest.importorskip("matplotlib")
    depth = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
    with paper():
        figure = pixel_map_figure(torch.rand(1, 1, 4, 4), depths={"depth": depth, "linear": depth + 3})
    first, second = (torch.tensor(ax.images[0].get_array()) for ax in figure.axes[1:3])
    assert first[0, 0].tolist() == [1, 1, 1]  # 0: not measured
    assert torch.equal(first[1, 1], second[1, 0])  # 5 in both
    assert not torch.equal(first[1, 0], second[1, 0])
    assert figure.axes[-1].get_ylim() == (1, 8)
    with pytest.raises(NothingToDraw):
        pixel_map_figure(torch.rand(0, 3, 4, 4))
