"""Figures of samples: what is framed, what is shown, and which colours can be told apart."""

import itertools

import numpy as np
import pytest
import torch

from ssl_eval import (
    attention_figure,
    mistakes_figure,
    neighbours_figure,
    reconstruction_figure,
    token_colors_figure,
)
from ssl_eval.figures.embedding import map_figure
from ssl_eval.figures.images.image_grid import RIGHT, WRONG
from ssl_eval.figures.images.pixel_maps import pixel_map_figure
from ssl_eval.figures.similarity import similarity_figure
from ssl_eval.figures.style import CLASS_COLORS, paper

NAMES = ["cat", "dog", "a very long name of a class that cannot be shown"]


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def picture(ax):
    return torch.as_tensor(np.asarray(ax.images[0].get_array(), dtype=float))


def test_neighbours_are_framed_by_their_class():
    from matplotlib.colors import to_hex

    with paper():
        figure = neighbours_figure(images(2, 3, 4, 4), images(2, 3, 3, 4, 4), [0, 1], [[0, 1, 0], [2, 1, 7]], NAMES)
    frames = []
    for ax in figure.axes:
        side = ax.spines["left"]
        frames.append(to_hex(side.get_edgecolor()).upper() if side.get_visible() else None)
    assert frames == [None, RIGHT, WRONG, RIGHT, None, WRONG, RIGHT, WRONG]
    assert figure.axes[1].spines["left"].get_linestyle() != figure.axes[2].spines["left"].get_linestyle()
    assert {"query", "nearest", "2", "3", "cat", "dog", "7"} <= set(texts(figure))
    assert not any("cannot be shown" in text for text in texts(figure))  # cut to the width of an image


def test_mistakes_show_class_prediction_and_confidence():
    with paper():
        figure = mistakes_figure(images(3, 1, 4, 4), [0, 1, 0], [1, 0, 9], [0.99996, 0.998, 0.4], NAMES)
    assert texts(figure) == ["cat\nas dog\n> 99.9 %", "dog\nas cat\n99.8 %", "cat\nas 9\n40 %"]


def test_attention_shows_the_mean_and_the_first_heads():
    attention = images(2, 8, 3, 3)
    with paper():
        figure = attention_figure(images(2, 3, 6, 6), attention)
    assert texts(figure) == ["image", "mean of 8", *(f"head {head}" for head in range(1, 7))]
    assert len(figure.axes) == 2 * 8
    torch.testing.assert_close(picture(figure.axes[3]).float(), attention[1].mean(0))
    torch.testing.assert_close(picture(figure.axes[-1]).float(), attention[1, 5])


def test_reconstruction_keeps_visible_patches():
    given, predicted = images(2, 3, 8, 8), images(2, 3, 8, 8, seed=1)
    mask = torch.zeros(2, 2, 2, dtype=torch.bool)
    mask[:, 0, 1] = True
    with paper():
        figure = reconstruction_figure(given, mask, predicted)
    masked, pasted = (picture(figure.axes[place]).permute(2, 0, 1).float() for place in (2, 4))
    expected = given[0].clone()
    expected[:, :4, 4:] = predicted[0, :, :4, 4:]
    torch.testing.assert_close(pasted, expected)
    assert masked[:, :4, 4:].unique().tolist() == pytest.approx([0.6])
    torch.testing.assert_close(masked[:, 4:], given[0, :, 4:])


def test_texts_stay_inside_and_apart():
    """Bounding boxes of the renderer: no text leaves the figure or covers another text or an image."""
    classes = torch.arange(12).repeat(80).view(20, 6, 8)
    with paper():
        figures = [
            neighbours_figure(images(8, 3, 8, 8), images(8, 8, 3, 8, 8), [2] * 8, [[2] * 8] * 8, NAMES),
            mistakes_figure(images(16, 3, 8, 8), [2] * 16, [2] * 16, [0.9999] * 16, NAMES),
            attention_figure(images(8, 3, 8, 8), images(8, 6, 4, 4)),
            reconstruction_figure(images(8, 3, 8, 8), torch.ones(8, 2, 2, dtype=torch.bool), images(8, 3, 8, 8)),
            token_colors_figure(images(8, 3, 8, 8), images(8, 4, 4, 3)),
            attention_figure(images(40, 3, 8, 8), images(40, 1, 4, 4)),
            *(pixel_map_figure(images(count, 3, 6, 8), {"mask": classes[:count]}) for count in (1, 3, 8, 20)),
            *(pixel_map_figure(images(count, 1, 8, 8), depths={"depth": images(count, 8, 8)}) for count in (1, 6)),
        ]
        for figure in figures:
            figure.draw_without_rendering()
            boxes = [each.get_window_extent() for each in (*figure.texts, *figure.axes, *figure.legends)]
            boxes += [text.get_window_extent() for ax in figure.axes for text in ax.get_yticklabels()]
            for box in boxes:
                assert box.x0 >= 0
                assert box.y0 >= 0
                assert box.x1 <= figure.bbox.x1
                assert box.y1 <= figure.bbox.y1
            for one, other in itertools.combinations(boxes, 2):
                assert not (one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9)))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: neighbours_figure(images(2, 3, 4, 4), images(3, 3, 3, 4, 4), [0, 1], [], NAMES), r"neighbours: .*\(2, k,"),
        (lambda: mistakes_figure(images(2, 3, 4, 4) * 300, [0, 1], [0, 1], [1, 1], NAMES), r"0\.\.1, got .* std \+ mean"),
        (lambda: mistakes_figure(images(2, 3, 4, 4), [0], [0, 1], [1, 1], NAMES), "labels: expected 2, one an image, got 1"),
        (lambda: attention_figure(images(2, 4, 4, 4), images(2, 1, 2, 2)), "images: expected 1 or 3 channels, got 4"),
        (lambda: attention_figure(images(2, 3, 4, 4), images(2, 2, 2)), r"attention: expected \(2, heads, h, w\)"),
        (lambda: token_colors_figure(images(2, 3, 4, 4), images(2, 2, 2)), r"colors: expected \(2, h, w, 3\)"),
        (lambda: reconstruction_figure(images(2, 3, 4, 4), images(2, 3, 3) > 1, images(2, 3, 4, 4)), "divisors of 4, 4"),
        (lambda: mistakes_figure(torch.ones(2, 3, 4, 4, dtype=torch.uint8), [], [], [], NAMES), r"images: .* got torch.uint8"),
    ],
)  # fmt: skip
def test_invalid_images_raise(draw, message):
    with pytest.raises(ValueError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


# Machado, Oliveira & Fernandes 2009, table 1, severity 1: what protanopes and deuteranopes see, in linear RGB
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def cielab(linear):
    """CIE 1976 L*a*b* of linear sRGB, white point D65 (IEC 61966-2-1, CIE 15)."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_ten_classes_have_distinguishable_colours(kind):
    """A CIELAB distance of 2.3 is just noticeable; at least 15 between any two, with red-green blindness as well."""
    encoded = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in CLASS_COLORS])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    colors = cielab((linear @ BLINDNESS[kind].T).clip(0, 1))
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2)]
    assert len(colors) == 10
    assert min(distances) > 15


def test_embedding_gives_each_of_ten_classes_a_colour():
    points, labels = images(40, 2), torch.arange(40) % 10
    with paper():
        figure = map_figure({"pca": points}, labels, [f"class {k}" for k in range(10)])
    (ax,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"class {k}" for k in range(10)]
    assert len({tuple(part.get_facecolor()[0]) for part in ax.collections}) == 10


def test_embedding_shows_unlabelled_samples_by_their_number():
    with paper():
        figure = map_figure({"pca": images(6, 2)}, torch.tensor([-1, 0, 1, -1, 0, 2]), ["cat", "dog"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["-1", "cat", "dog", "2"]


@pytest.mark.parametrize("classes", [1, 10, 30, 31])
@pytest.mark.parametrize("count", [1, 2])
def test_long_names_of_an_embedding_stay_inside(classes, count):
    """Up to thirty classes are in the legend, each with its own pair of colour and marker."""
    names = [f"{'name of a class that has no end ' * 3} {k}" for k in range(classes)]
    maps = {kind: images(62, 2) for kind in ("pca", "tsne")[:count]}
    with paper():
        figure = map_figure(maps, torch.arange(62) % classes, names)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for each in figure.legends for text in each.get_texts()]
        axes = [ax.get_window_extent() for ax in figure.axes]
    assert len(boxes) == (classes if classes <= 30 else 0)
    looks = {(str(part.get_facecolor()), str(part.get_paths()[0].vertices)) for part in figure.axes[0].collections}
    assert len(looks) == classes
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(ax) for ax in axes)
    assert all(ax.height > figure.dpi for ax in axes)  # an inch


def test_similarity_has_upright_names_where_they_fit():
    for labels, rotation in ((["a", "b"], 0), ([f"simclr_affine_digits {k}" for k in "abcdefgh"], 90)):
        with paper():
            figure = similarity_figure(torch.eye(len(labels)), labels)
            figure.draw_without_rendering()
        texts = figure.axes[0].get_xticklabels()
        assert {text.get_rotation() for text in texts} == {rotation}
        boxes = [text.get_window_extent() for text in texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
