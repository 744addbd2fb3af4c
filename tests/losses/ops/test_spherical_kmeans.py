"""Spherical k-means. Oracle: the two steps as loops over rows and centroids; on several ranks: ``test_distributed.py``."""

import pytest
import torch

from ssl_losses.ops.spherical_kmeans import spherical_kmeans


def unit_rows(number, dimensions=4, seed=0):
    z = torch.randn(number, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(z)


def generator():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_centroids_and_assignments_are_those_of_the_plain_loops(iterations):
    rows = unit_rows(40)
    centroids = rows[torch.randperm(40, generator=generator())[:5]].clone()

    def nearest():
        return [max(range(5), key=lambda k: float(row @ centroids[k])) for row in rows]

    for _ in range(iterations):
        labels = nearest()
        for k in range(5):
            total = sum(row for row, label in zip(rows, labels) if label == k)
            centroids[k] = total / total.norm()
    found = spherical_kmeans(rows, 5, iterations, generator())
    torch.testing.assert_close(found[0], centroids)
    assert found[1].tolist() == nearest()


def test_clusters_that_lie_apart_are_found():
    labels = torch.arange(60) % 3
    rows = torch.nn.functional.normalize(torch.eye(3).double()[labels] + 0.1 * unit_rows(60, 3))
    draws = [spherical_kmeans(rows, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    _, best = max(draws, key=lambda draw: float((rows * draw[0][draw[1]]).sum()))
    assert len({(int(a), int(b)) for a, b in zip(best, labels)}) == 3


def test_iteration_never_lowers_the_cosines():
    rows = unit_rows(200, dimensions=8)
    totals = []
    for iterations in range(8):
        centroids, assignments = spherical_kmeans(rows, 12, iterations, generator())
        totals.append(float((rows * centroids[assignments]).sum()))
    assert totals == sorted(totals)
    assert totals[-1] > totals[0] + 1


def test_centroid_without_rows_stays():
    """Both rows of the first direction start as centroids; the rows all go to the first of the two."""
    rows = torch.eye(2)[[0, 0, 0]]
    centroids, assignments = spherical_kmeans(rows, 2)
    assert assignments.tolist() == [0, 0, 0]
    assert torch.equal(centroids, rows[:2])


def test_opposite_rows_leave_their_centroid_where_it_was():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    centroids, _ = spherical_kmeans(rows, 1)
    assert centroids.norm().item() == pytest.approx(1)


def test_draw_of_the_first_centroids_can_be_repeated():
    rows = unit_rows(40)
    first, again = (spherical_kmeans(rows, 5, generator=generator()) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("clusters", [0, 4])
def test_more_clusters_than_rows_raise(clusters):
    with pytest.raises(ValueError, match=f"{clusters} clusters need at least as many rows, got 3"):
        spherical_kmeans(unit_rows(3), clusters)
