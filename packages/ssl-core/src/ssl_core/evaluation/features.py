"""Features of images: of a tensor, of a loader, and of the loaders of all ranks together."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.batch import views_of
from ssl_core.distributed.ranks import Distributed

Features = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> features (N, D)


def representations(model: Any, x: Tensor) -> dict[str, Tensor]:
    """Return the outputs of backbone ``(N, D)`` and projector ``(N, E)`` by name; without a backbone, that of ``forward``."""
    if not hasattr(model, "backbone"):
        return {"output": model.forward(x).flatten(1)}
    features = model.backbone(x).flatten(1)
    return {"backbone": features} | ({"projector": model.projector(features)} if hasattr(model, "projector") else {})


@torch.no_grad()
def extract(
    model: nn.Module, features: Features, images: Tensor | Iterable[Any], batch_size: int
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the features of images ``(N, C, H, W)``, or features and labels of a loader, on the CPU.

    The model is in evaluation mode meanwhile.
    """
    training = model.training
    model.eval()
    try:
        if isinstance(images, Tensor):
            return torch.cat([features(part).cpu() for part in images.split(batch_size)])
        found = [(features(views_of(views)[0]).cpu(), labels.cpu()) for views, labels, _ in images]
        return torch.cat([rows for rows, _ in found]), torch.cat([labels for _, labels in found])
    finally:
        model.train(training)


def collect_features(
    loader: Iterable[Any], features: Features, distributed: Distributed, labelled: bool = True
) -> tuple[Tensor, Tensor]:
    """Return features ``(M, D)`` and labels ``(M,)`` of the images of all ranks; by default of the labelled ones only.

    The rows are in the order of the samples' ids, whatever the number of ranks.
    """
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    ids: list[Tensor] = []
    for views, label, index in loader:
        known = label >= 0 if labelled else torch.ones_like(label, dtype=torch.bool)
        rows.append(features(views_of(views)[0])[known.to(distributed.device)])
        labels.append(label[known])
        ids.append(index[known])
    features_of_all, labels_of_all = _of_all_ranks(distributed, None, ids, rows, labels)
    return features_of_all, labels_of_all


def collect_view_features(
    loader: Iterable[Any], features: Features, distributed: Distributed, limit: int
) -> Tensor | None:
    """Return features ``(n, V, D)`` of the V views of n training images, ``limit`` at most; None where an image has one view.

    The images are in the order of their ids; they are those of the first batches, whatever the number of ranks.
    """
    rows: list[Tensor] = []
    ids: list[Tensor] = []
    seen = torch.zeros((), dtype=torch.int64)
    for views, _, index in loader:
        same_size = full_size_views(views)
        if len(same_size) < 2:
            return None
        rows.append(torch.stack([features(view) for view in same_size], 1))
        ids.append(index)
        seen += len(index)
        if distributed.sum(seen) >= limit:  # all ranks have to stop at the same batch
            break
    [gathered] = _of_all_ranks(distributed, limit, ids, rows)
    return gathered if len(gathered) > 1 else None


def collect_tokens(
    loader: Iterable[Any], tokens: Callable[[Tensor], list[Tensor]], distributed: Distributed
) -> list[Tensor]:
    """Return what ``tokens`` gives of the images of all ranks, in the order of the samples' ids."""
    found: list[list[Tensor]] = []
    ids: list[Tensor] = []
    for views, _, index in loader:
        found.append(tokens(views_of(views)[0]))
        ids.append(index)
    return _of_all_ranks(distributed, None, ids, *map(list, zip(*found)))


def tokens_of_last_blocks(backbone: Any, x: Tensor, blocks: int) -> list[Tensor]:
    """Return the tokens of a vision transformer, after its last norm.

    Parameters
    ----------
    backbone : Module
        With ``intermediate_tokens``, ``norm`` and ``num_prefix_tokens``, as
        :class:`~ssl_core.backbones.vit.VisionTransformer`.
    x : Tensor
        Images ``(N, C, H, W)``.
    blocks : int
        B, at most the number of blocks.

    Returns
    -------
    list of Tensor
        ``(N, L, D)``: the class token, if there is one, and the patches, of the last block. ``(N, B, 2, D)``: of the last B
        blocks the class token, or else the mean of the patches, and the mean of the patches.
    """
    prefix = backbone.num_prefix_tokens
    found = [backbone.norm(each) for each in backbone.intermediate_tokens(x, range(-blocks, 0))]
    patches = [each[:, prefix:] for each in found]
    has_class_token = getattr(backbone, "class_token", getattr(backbone, "cls_token", None)) is not None
    means = [each.mean(1) for each in patches]
    classes = [each[:, 0] for each in found] if has_class_token else means
    last = torch.cat([found[-1][:, :1], patches[-1]], 1) if has_class_token else patches[-1]
    return [last, torch.stack([torch.stack(pair, 1) for pair in zip(classes, means)], 1)]


def full_size_views(views: Sequence[Tensor]) -> list[Tensor]:
    """Return the views of the size of the first one: without the small views of a multi-crop."""
    views = views_of(views)
    return [view for view in views if view.shape == views[0].shape]


def _of_all_ranks(
    distributed: Distributed, limit: int | None, ids: list[Tensor], *columns: list[Tensor]
) -> list[Tensor]:
    """Return the columns of all ranks in the order of the samples' ids, at most ``limit`` rows."""
    order = torch.argsort(distributed.gather(torch.cat(ids).to(distributed.device)))[:limit]
    return [distributed.gather(torch.cat(column).to(distributed.device))[order] for column in columns]


def patch_size_of(model: Any) -> int:
    """Return the side of a patch of the backbone in pixels; 1 for a backbone without square patches."""
    size = getattr(getattr(model, "backbone", None), "patch_size", 1)
    return size if isinstance(size, int) else 1
