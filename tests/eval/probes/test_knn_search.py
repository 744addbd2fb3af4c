"""The nearest references that the prefilter lets through are those of brute force, whatever the features."""

import pytest
import torch

from ssl_eval.probes.knn_prefilter import Prefilter
from ssl_eval.probes.knn_search import _similarity, nearest
from ssl_eval.probes.vectors import Vectors


@pytest.fixture(params=["bfloat16", "float32"], autouse=True)
def _processor(request, monkeypatch):
    """Every test on a processor that multiplies bfloat16, and on one that does not."""
    monkeypatch.setattr("ssl_eval.probes.knn_prefilter.has_bf16", lambda: request.param == "bfloat16")


@pytest.fixture
def never_crowded(monkeypatch):
    """So that the prefilter answers alone, and not the comparison of all pairs."""
    monkeypatch.setattr("ssl_eval.probes.knn_search.CROWD", 10**6)

    def fail(*_):
        raise AssertionError("all pairs were compared")

    monkeypatch.setattr("ssl_eval.probes.knn_search._search_all", fail)


def brute_force(train, test, k, metric):
    """The definition in float64: k indices by falling similarity, of equal ones the lower first."""
    train, test = train.double(), test.double()
    if metric == "cosine":
        lengths = test.norm(dim=1)[:, None] * train.norm(dim=1)
        similarity = torch.where(lengths > 0, test @ train.T / lengths.clamp(min=1e-300), 0.0)
    else:
        similarity = -torch.stack([(train - query).square().sum(1) for query in test]) / 2
    order = similarity.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return similarity, order


def check(train, test, k, metric, blocks=(None, None), exact=False):
    """Compare with brute force: the indices where similarities are exact, else the similarities of what was found."""
    similarity, expected = brute_force(train, test, k, metric)
    values, indices = nearest(train, test, k, metric, *blocks)
    if exact:
        assert torch.equal(indices, expected)
    scale = float(similarity.abs().max()) or 1.0
    rounding = 1e-10 if values.dtype == torch.float64 else 2e-6
    found = similarity.gather(1, indices)
    torch.testing.assert_close(found / scale, similarity.gather(1, expected) / scale, rtol=0, atol=rounding)
    torch.testing.assert_close(values.double() / scale, found / scale, rtol=0, atol=rounding)
    assert (indices.sort(1).values.diff(dim=1) > 0).all()  # none twice
    return values, indices


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 20, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_equals_brute_force(make_features, never_crowded, metric, k, dtype):
    train, _ = make_features(1000, width=48, dtype=dtype)
    test, _ = make_features(300, width=48, seed=1, dtype=dtype)
    check(train, test, k, metric)


@pytest.mark.parametrize("blocks", [(None, 1), (7, 31), (300, 32), (64, 33), (1, 1000), (299, 999)])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blocks_do_not_matter(make_features, metric, blocks):
    train, _ = make_features(200 if blocks[1] == 1 else 1000, width=24, dtype=torch.float32)
    test, _ = make_features(100, width=24, seed=1, dtype=torch.float32)
    values, indices = check(train, test, 9, metric, blocks)
    whole = nearest(train, test, 9, metric)
    assert torch.equal(indices, whole[1])
    torch.testing.assert_close(values, whole[0])


def test_most_pairs_are_left_out(make_features):
    # The mean in common, 5 deviations, would drown the differences in bfloat16 if it were not taken away.
    train, _ = make_features(4096, width=64, dtype=torch.float32)
    test, _ = make_features(256, width=64, seed=1, dtype=torch.float32)
    train, test = train + 5 * train.std(), test + 5 * train.std()
    for metric in ("cosine", "euclidean"):
        if metric == "cosine":
            train, test = (torch.nn.functional.normalize(x) for x in (train, test))
        queries, references = (Vectors(x, torch.float32, metric) for x in (test, train))
        prefilter = Prefilter(train.mean(0), metric, k=20)
        pairs = prefilter.pairs(
            prefilter.queries(queries), prefilter.references(references), torch.full((256, 20), -torch.inf), most=4096
        )
        assert 20 <= len(pairs.rows) / 256 < 80  # of 4,096


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_no_neighbour_is_lost_where_the_bound_is_met(metric):
    """Rounding that works against the nearest: it is rounded away from the query, all the others towards it."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(64, generator=generator).bfloat16().float()
    half = base.abs() * 2**-9 * 0.98  # just under half of what bfloat16 resolves
    away = base - base.sign() * half  # rounds up to base, as do all of these
    train = torch.cat(
        [base.expand(500, 64) + half * torch.randn(500, 64, generator=generator).clamp(-1, 1), away[None]]
    )
    test = torch.cat([away[None], base[None], train[:50]])
    check(train, test, 1, metric)
    check(train, test, 5, metric)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_references_rank_by_index_exactly(metric, never_crowded):
    generator = torch.Generator().manual_seed(0)
    once = torch.randn(70, 33, generator=generator)
    train = once.repeat(9, 1)  # references i, i + 70, i + 140, ... are equal
    test = torch.randn(40, 33, generator=generator)
    _, indices = nearest(train, test, 20, metric, None, 128)
    expected = brute_force(once, test, 3, metric)[1]
    wanted = torch.cat([expected[:, :1] + 70 * torch.arange(9), expected[:, 1:2] + 70 * torch.arange(9)], 1)
    assert torch.equal(indices[:, :18], wanted)
    assert torch.equal(indices[:, 18:], expected[:, 2:] + torch.tensor([0, 70]))


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("block", [None, 1, 8, 32, 50])
def test_exact_ties_rank_by_index(k, block):
    generator = torch.Generator().manual_seed(0)
    train = torch.randint(-1, 2, (60, 3), generator=generator).float()  # integers: equal distances are exactly equal
    test = torch.randint(-1, 2, (30, 3), generator=generator).float()
    check(train, test, k, "euclidean", (None, block), exact=True)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_collapsed_encoder_gives_the_first_references(metric):
    for row in (torch.ones(5), torch.zeros(5), torch.randn(5, generator=torch.Generator().manual_seed(0))):
        _, indices = nearest(row.expand(3000, 5), row.expand(10, 5), 4, metric)
        assert torch.equal(indices, torch.arange(4).expand(10, 4))


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearly_collapsed_features_are_distinguished(make_features, metric, spread):
    train, _ = make_features(1500, width=32, dtype=torch.float32)
    test, _ = make_features(100, width=32, seed=1, dtype=torch.float32)
    check(10 + spread * train, 10 + spread * test, 10, metric)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_features_of_any_size(make_features, metric, scale):
    train, _ = make_features(500, width=16, dtype=torch.float32)
    test, _ = make_features(50, width=16, seed=1, dtype=torch.float32)
    _, indices = check(scale * train, scale * test, 10, metric)
    near = brute_force(train, test, 10, metric)[1]
    assert (indices == near).float().mean() > 0.99  # the scale rounds a few


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_of_very_different_length(make_features, metric):
    train, _ = make_features(800, width=16, dtype=torch.float32)
    test, _ = make_features(60, width=16, seed=1, dtype=torch.float32)
    train[::7] *= 1e6
    train[3] = 0.0
    test[::5] *= 1e6
    test[1] = 0.0
    check(train, test, 10, metric)


def test_reduced_precision_of_the_user_is_not_used(make_features):
    train, _ = make_features(1000, width=64, dtype=torch.float32)
    test, _ = make_features(100, width=64, seed=1, dtype=torch.float32)
    torch.set_float32_matmul_precision("medium")
    try:
        check(train, test, 10, "cosine")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_similarity_of_a_pair_does_not_depend_on_position():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 77, generator=generator)
    references = rows[torch.randint(3, (5000,), generator=generator)]
    for metric in ("cosine", "euclidean"):
        vectors = Vectors(references, torch.float32, metric)
        values = _similarity(rows, torch.zeros(5000, dtype=torch.int64), vectors, torch.arange(5000))
        assert len(values.unique()) == 3
