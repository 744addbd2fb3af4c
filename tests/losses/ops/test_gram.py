"""The smaller of ZᵀZ and ZZᵀ."""

import torch
from views import pair

from ssl_losses.ops.gram import smaller_gram


def test_smaller_matrix_has_the_nonzero_eigenvalues():
    """Oracle: torch.linalg.eigvalsh of both."""
    z = torch.stack(pair())
    for view in (z, z[:, :3]):
        gram = smaller_gram(view)
        assert gram.shape[-1] == min(view.shape[1:])
        for other in (view.mT @ view, view @ view.mT):
            eigenvalues = torch.linalg.eigvalsh(other)
            torch.testing.assert_close(torch.linalg.eigvalsh(gram), eigenvalues[:, -gram.shape[-1] :])
            assert eigenvalues[:, : -gram.shape[-1]].abs().sum() < 1e-12
