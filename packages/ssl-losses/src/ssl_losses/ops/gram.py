"""The smaller of the two matrices of inner products, over the global batch."""

from torch import Tensor

from ssl_losses.distributed import gather_with_gradient
from ssl_losses.ops.covariance import sum_of_products, total_rows


def smaller_gram(z: Tensor) -> Tensor:
    """Return ``ZᵀZ``, or ``ZZᵀ`` where there are fewer rows than columns, of the global batch of each view.

    Both have the same eigenvalues but for zeros: the same Frobenius norm, and the same determinant with the identity added.

    Parameters
    ----------
    z : Tensor
        ``(V, N, D)``, this rank's rows.

    Returns
    -------
    Tensor
        ``(V, D, D)`` or ``(V, G, G)``, differentiable.
    """
    if total_rows(z) >= z.shape[-1]:
        return sum_of_products(z, z)
    rows = gather_with_gradient(z.transpose(0, 1)).transpose(0, 1)  # (V, G, D)
    return rows @ rows.mT
