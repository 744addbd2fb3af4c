"""VICRegL beyond the contract."""

import cases.vicregl
import pytest
import torch

from ssl_losses import VICRegLLoss, vicregl


def views(grids, samples=6, width=4, map_width=3):
    """Embeddings, maps and locations with grids ``(H, W)``."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(samples, *shape, generator=generator, dtype=torch.float64)

    embeddings = [draw(width).requires_grad_() for _ in grids]
    maps = [draw(h, w, map_width).requires_grad_() for h, w in grids]
    return embeddings, maps, [draw(h, w, 2) for h, w in grids]


def test_lightly_agrees():
    """Oracle: lightly 1.6, value and gradient, two global views and two local ones. It counts matches by the direction of a
    search and not by the kind of view as the paper does, so both numbers are the same here; and it gives the loss a
    dimension of its own."""
    from lightly.loss import VICRegLLoss as LightlyLoss

    embeddings, maps, locations = views([(3, 3), (3, 3), (2, 2), (2, 2)])
    theirs = LightlyLoss(20.0, 30.0, 2.0, alpha=0.6, num_matches=(3, 3))(
        global_view_features=list(zip(embeddings[:2], maps[:2])),
        global_view_grids=locations[:2],
        local_view_features=list(zip(embeddings[2:], maps[2:])),
        local_view_grids=locations[2:],
    )
    options = {"alpha": 0.6, "num_matches": (3, 3), "invariance": 20.0, "variance": 30.0, "covariance": 2.0}
    ours = vicregl(embeddings, maps, locations, **options)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)  # it sums in float32
    leaves = [*embeddings, *maps]
    for mine, other in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves)):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_lightly_agrees_where_a_local_view_keeps_fewer_matches():
    """Oracle: lightly 1.6. With one global view its two numbers are those of a global and a local view, as in the paper."""
    from lightly.loss import VICRegLLoss as LightlyLoss

    embeddings, maps, locations = views([(3, 3), (2, 2), (2, 3)])
    theirs = LightlyLoss(alpha=0.6, num_matches=(4, 2))(
        global_view_features=list(zip(embeddings[:1], maps[:1])),
        global_view_grids=locations[:1],
        local_view_features=list(zip(embeddings[1:], maps[1:])),
        local_view_grids=locations[1:],
    )
    ours = vicregl(embeddings, maps, locations, alpha=0.6, num_matches=(4, 2), global_views=1)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_cells_are_matched_where_they_lie_in_the_original_image():
    """A flipped view with its flipped grid is the same cells in another order."""
    embeddings, maps, locations = views([(3, 3), (3, 3)])
    flipped = [maps[0], maps[1].flip(2)], [locations[0], locations[1].flip(2)]
    expected = vicregl(embeddings, maps, locations, num_matches=(5, 5)).item()
    assert vicregl(embeddings, *flipped, num_matches=(5, 5)).item() == pytest.approx(expected, rel=1e-12)
    assert vicregl(embeddings, flipped[0], locations, num_matches=(5, 5)).item() != pytest.approx(expected, rel=1e-3)


def test_authors_order_of_the_pairs_is_that_of_the_map():
    """Oracle: the plain formula with the pairs of each image in the order of the cells, as in the authors' code."""
    embeddings, maps, locations = views([(3, 3), (3, 3), (2, 2)])
    options = {"alpha": 0.6, "num_matches": (4, 2), "invariance": 20.0, "variance": 30.0, "covariance": 2.0}
    found = vicregl(embeddings, maps, locations, **options, map_order=True).item()
    with torch.no_grad():
        arguments = (embeddings, maps, locations)
        ours, authors = (cases.vicregl.plain(*arguments, **options, global_views=2, map_order=m) for m in (False, True))
    assert found == pytest.approx(float(authors), rel=1e-10)
    assert found != pytest.approx(float(ours), rel=1e-6)


def test_alpha_leaves_the_cells_out_or_the_whole_images():
    embeddings, maps, locations = views([(3, 3), (3, 3)])
    others = [torch.zeros_like(z) for z in embeddings]
    cells = [torch.zeros_like(z) for z in maps]
    whole = vicregl(embeddings, maps, locations, alpha=1.0).item()
    local = vicregl(embeddings, maps, locations, alpha=0.0).item()
    assert vicregl(embeddings, cells, locations, alpha=1.0).item() == pytest.approx(whole, rel=1e-12)
    assert vicregl(others, maps, locations, alpha=0.0).item() == pytest.approx(local, rel=1e-12)
    both = vicregl(embeddings, maps, locations, alpha=0.25).item()
    assert both == pytest.approx(0.25 * whole + 0.75 * local, rel=1e-12)


def test_map_with_fewer_cells_than_matches_keeps_all():
    few = views([(2, 2), (2, 2)])
    assert vicregl(*few, num_matches=(20, 20)).item() == vicregl(*few, num_matches=(4, 4)).item()


def test_invalid_input_raises():
    embeddings, maps, locations = views([(3, 3), (3, 3)])
    for arguments, message in (
        ((embeddings, maps[:1], locations), "an embedding, a map and the locations of its cells, got 2, 1 and 2"),
        (
            (embeddings, [m.flatten(1, 2) for m in maps], locations),
            r"maps must be \(N, H, W, E\).*got shape \(6, 9, 3\)",
        ),
        ((embeddings, maps, [x[:, :2] for x in locations]), r"of the map \(6, 3, 3, 3\), got shape \(6, 2, 3, 2\)"),
        ((embeddings, [maps[0], maps[1][..., :2]], locations), r"\(6, 3, 3, 3\) and \(6, 3, 3, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            vicregl(*arguments)
    with pytest.raises(ValueError, match="global_views must be between 1 and the number of views, 2, got 3"):
        vicregl(embeddings, maps, locations, global_views=3)
    with pytest.raises(ValueError, match="num_matches must be at least 1, got 0"):
        VICRegLLoss(num_matches=(20, 0))
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 1, got 2\.0"):
        VICRegLLoss(alpha=2.0)
    with pytest.raises(ValueError, match=r"covariance must be finite and at least 0, got -1\.0"):
        VICRegLLoss(covariance=-1.0)
