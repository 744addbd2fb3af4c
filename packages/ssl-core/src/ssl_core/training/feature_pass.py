"""Embeddings of all training samples, for methods that cluster or remember them before they train."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def feature_pass(model: Any, embed: Callable[[Tensor], Tensor], num_views: int = 1) -> tuple[Tensor, Tensor]:
    """Return the ids of all training samples and the embeddings of their views, in the order of the ids.

    The views are those of the present epoch, and the model is in evaluation mode: the result is a function of the weights, the
    seed and the epoch, the same on every rank, for any number of ranks and any batch size. The model stays in evaluation mode.

    Parameters
    ----------
    model : BaseModel
        A model in a run, between two batches. A signal during the pass saves a checkpoint and raises; a resumed run repeats
        the pass.
    embed : callable
        Images ``(N, C, H, W)`` to embeddings ``(N, D)``.
    num_views : int
        V, the first views that are embedded.

    Returns
    -------
    ids, embeddings : Tensor
        ``(M,) int64``, ascending, and ``(M, V, D)``, float32 at least.

    Raises
    ------
    ConfigError
        If the training loader has no ``in_order()``.
    Preempted
        If a signal has stopped the run.
    """
    run = model.run
    model.eval()
    ids: list[Tensor] = []
    rows: list[Tensor] = []
    for batch in run.triggers.stop_aware(run.batches.in_order(), model.save_checkpoint):
        ids.append(batch.ids)
        embeddings = torch.stack([embed(view) for view in batch.views[:num_views]], dim=1)
        rows.append(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))
    found = run.distributed.gather(torch.cat(ids))
    order = found.argsort()
    return found[order], run.distributed.gather(torch.cat(rows))[order]
