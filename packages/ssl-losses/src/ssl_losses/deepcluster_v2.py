"""DeepCluster v2: each view predicts the cluster that its sample was given by k-means."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_counts, check_embeddings, check_temperature, problem_with_type
from ssl_losses.components.loss import Loss
from ssl_losses.components.prototypes import problem_with_prototypes
from ssl_losses.distributed import all_reduce_with_gradient, gather_with_gradient
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.spherical_kmeans import spherical_kmeans
from ssl_losses.precision import widened, without_autocast

UNASSIGNED = -1  # the label of a sample that k-means has not seen; it takes no part in the loss


@without_autocast
def deepcluster_v2(*views: Tensor, prototypes: Tensor, assignments: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the DeepCluster v2 loss (Caron et al. 2020, appendix of SwAV, https://arxiv.org/abs/2006.09882).

    .. math::
        -\frac{1}{H V |S|} \sum_h \sum_v \sum_{i \in S} \log \mathrm{softmax}_{y_{h,i}} \frac{z_{v,i} \cdot c_{h}}{\tau}

    with embeddings z and prototypes c normalised, over the samples S of the global batch that have an assignment y, for
    each of H independent clusterings.

    Parameters
    ----------
    *views : Tensor
        V >= 1 tensors ``(N, D)`` float.
    prototypes : Tensor
        ``(H, K, D)`` float, the clusters' centroids, the same on all ranks; any scale. They are constants.
    assignments : Tensor
        ``(H, N)`` int64, the cluster of each sample in each clustering, or -1 for none.
    temperature : float
        τ, at least 1e-6; the paper's 0.1.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch, 0 if no sample has an assignment.

    Examples
    --------
    >>> z = torch.eye(2)  # two samples, each on the centroid of its cluster
    >>> options = {"prototypes": torch.eye(2)[None], "assignments": torch.tensor([[0, 1]]), "temperature": 1.0}
    >>> round(deepcluster_v2(z, z, **options).item(), 4)  # log(1 + 1 / e)
    0.3133
    """
    check_temperature(temperature)
    check_embeddings(*views, views=1, problem=_problem(views, prototypes, assignments))
    *embeddings, c = (unit_rows(z) for z in widened([*views, prototypes.detach().flatten(0, 1)]))
    centroids = c.view(prototypes.shape)
    labels = assignments.flatten()
    total = c.new_zeros(())
    for z in embeddings:
        logits = z @ centroids.mT / temperature  # (H, N, K)
        total = total + F.cross_entropy(logits.flatten(0, 1), labels, ignore_index=UNASSIGNED, reduction="sum")
    count = len(views) * (labels != UNASSIGNED).sum().to(total)
    total, count = all_reduce_with_gradient(torch.stack([total, count]))
    return total / count.clamp(min=1)


def _problem(views: Sequence[Tensor], prototypes: Tensor, assignments: Tensor) -> str | None:
    """Return what is wrong with this rank's arguments besides the views' shapes, if anything."""
    if prototypes.ndim != 3:
        return (
            f"the prototypes must be (H, K, D), got shape {tuple(prototypes.shape)}; prototypes[None] is one clustering"
        )
    expected = (len(prototypes), *(len(z) for z in views[:1]))
    if assignments.shape != expected or assignments.dtype != torch.int64:
        return (
            f"the assignments must be int64 (H, N) = {expected}, got {assignments.dtype} of shape "
            f"{tuple(assignments.shape)}; one for each clustering and sample"
        )
    return problem_with_prototypes(prototypes, views)


class DeepClusterV2Loss(Loss):
    """:func:`deepcluster_v2` as a module that keeps the memory of features, their clusters and the centroids.

    ::

        criterion = DeepClusterV2Loss(num_samples=len(dataset))
        for indices, views in loader:  # once before training: features for the first clustering
            criterion.update(indices, *embed(views))
        for epoch in range(epochs):
            criterion.cluster()  # k-means over the features of the epoch before
            for indices, views in loader:
                loss = criterion(indices, *embed(views))  # and remembers the features for the next

    Parameters
    ----------
    num_samples : int
        Size of the data set. The memory holds ``global_views`` features of each sample on every rank: 1.3 GB for ImageNet.
    dimensions : int
        D, the paper's 128.
    num_prototypes, num_clusterings : int
        K and H; the paper's 3000, three times.
    temperature : float
        τ, the paper's 0.1.
    global_views : int
        Views whose features are kept: the first ones, of full resolution; the paper's 2. Clustering h takes view h modulo this.

    Attributes
    ----------
    memory : Tensor
        Buffer ``(global_views, num_samples, D)``, unit rows, zero for a sample that was not seen.
    prototypes : Tensor
        Buffer ``(H, K, D)``, unit rows: the centroids, which do not learn by gradient. Empty before the first clustering.
    assignments : Tensor
        Buffer ``(H, num_samples)`` int64, -1 for no cluster. Empty before the first clustering.
    """

    memory: Tensor
    prototypes: Tensor
    assignments: Tensor

    def __init__(
        self,
        num_samples: int,
        dimensions: int = 128,
        num_prototypes: int = 3000,
        num_clusterings: int = 3,
        temperature: float = 0.1,
        global_views: int = 2,
    ) -> None:
        check_temperature(temperature)
        check_counts(num_samples=num_samples, dimensions=dimensions, num_prototypes=num_prototypes)
        check_counts(num_clusterings=num_clusterings, global_views=global_views)
        super().__init__(temperature=temperature)
        self.num_prototypes, self.num_clusterings = num_prototypes, num_clusterings
        self.register_buffer("memory", torch.zeros(global_views, num_samples, dimensions))
        # empty before the first clustering: forward() finds the error from the shape, without a wait for the device
        self.register_buffer("prototypes", torch.zeros(0, num_prototypes, dimensions))
        self.register_buffer("assignments", torch.zeros(0, num_samples, dtype=torch.int64))

    def forward(self, indices: Tensor, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)`` of the samples with these indices ``(N,)`` int64 in the data set.

        The assignments are those of the last :meth:`cluster`; in training mode, :meth:`update` remembers the features
        afterwards. Indices on the CPU avoid a wait for the device.
        """
        self._check(indices, views, None if len(self.prototypes) else "there are no clusters yet; call cluster() first")
        loss = deepcluster_v2(
            *views, prototypes=self.prototypes, assignments=self.assignments[:, indices], **self.options
        )
        if self.training:
            self._remember(indices, views)
        return loss

    def update(self, indices: Tensor, *views: Tensor) -> None:
        """Remember the features ``(N, D)`` of all ranks' samples with these indices; only the first views are kept."""
        self._check(indices, views)
        self._remember(indices, views)

    def cluster(self, iterations: int = 10, generator: torch.Generator | None = None) -> None:
        """Cluster the remembered features by spherical k-means: new prototypes and assignments, the same on all ranks.

        The paper does so once an epoch, with 10 iterations. ``generator`` (on the CPU; that of rank 0 is used) draws the
        initial centroids among the features.
        """
        prototypes = self.memory.new_empty(self.num_clusterings, self.num_prototypes, self.memory.shape[2])
        assignments = self.assignments.new_full((self.num_clusterings, self.memory.shape[1]), UNASSIGNED)
        for clustering in range(self.num_clusterings):
            memory = self.memory[clustering % len(self.memory)]
            seen = memory.any(1)
            prototypes[clustering], assignments[clustering, seen] = spherical_kmeans(
                memory[seen], self.num_prototypes, iterations, generator
            )
        # new tensors: a loss that is still to be differentiated keeps the old ones
        self.prototypes, self.assignments = prototypes, assignments

    # Not accumulated: each sample has its own rows, and the loss reads only the result of cluster()
    @torch.no_grad()
    def _remember(self, indices: Tensor, views: Sequence[Tensor]) -> None:
        samples = gather_with_gradient(indices.to(self.memory.device))
        for memory, z in zip(self.memory, views):
            memory[samples] = gather_with_gradient(unit_rows(z.to(memory.dtype)))

    def _check(self, indices: Tensor, views: Sequence[Tensor], problem: str | None = None) -> None:
        """Raise ``ValueError`` on every rank if one has views or indices that do not fit the memory."""
        problem = problem or problem_with_type("indices", indices) or problem_with_type("views", views)
        check_embeddings(*views, views=len(self.memory), problem=problem or self._problem(indices, views))

    def _problem(self, indices: Tensor, views: Sequence[Tensor]) -> str | None:
        samples, dimensions = self.memory.shape[1:]
        if indices.dtype != torch.int64 or any(indices.shape != z.shape[:1] for z in views):
            shapes = ", ".join(str(tuple(z.shape)) for z in views)
            return (
                f"the indices must be int64 (N,) with one for each row of the views {shapes}, got {indices.dtype} of shape "
                f"{tuple(indices.shape)}"
            )
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < samples:
            return (
                f"the indices must be from 0 to num_samples - 1 = {samples - 1}, got {int(indices.min())} to "
                f"{int(indices.max())}; num_samples is that of the whole data set"
            )
        if any(z.shape[1:] != (dimensions,) for z in views):
            return (
                f"the views must be (N, D) with D = {dimensions}, got shape {tuple(views[0].shape)}; dimensions sets it"
            )
        return None

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # take their length, 0 or H; any other shape is then an error
        for name in ("prototypes", "assignments"):
            stored = state_dict.get(f"{prefix}{name}")
            if stored is not None and len(stored) in (0, self.num_clusterings):
                buffer = getattr(self, name)
                setattr(self, name, buffer.new_empty((len(stored), *buffer.shape[1:])))
        super()._load_from_state_dict(state_dict, prefix, *rest)
