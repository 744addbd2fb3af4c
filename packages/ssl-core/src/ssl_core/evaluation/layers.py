"""Representations of the same images by several checkpoints and layers, for their comparison."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_core.checkpoint.store import read_state
from ssl_core.errors import ConfigError
from ssl_core.evaluation.features import collect_features, collect_tokens, tokens_of_last_blocks
from ssl_core.evaluation.other_data.other_images import OpenImages, open_images
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.training.session import RunSession
from ssl_core.training.trained_run import load_weights
from ssl_eval.validation import check_features
from ssl_losses.precision import widen


@dataclass
class Representation:
    """What one layer of one checkpoint makes of the images.

    Attributes
    ----------
    checkpoint : Path
    step : int
        Step of the checkpoint.
    layer : str
        ``block 11`` of a vision transformer, the name of the module of other backbones; empty for the output.
    features : Tensor
        ``(N, D)``, on the CPU, in the order of the images' ids.
    """

    checkpoint: Path
    step: int
    layer: str
    features: Tensor


@dataclass(frozen=True)
class ImageSet:
    """Which images were embedded: two sets of the same images are equal."""

    dataset: str
    count: int
    digest: str  # of ids, labels and the data's own fingerprint


def extract_representations(
    run: RunFolder,
    checkpoints: Sequence[Path],
    layers: int = 0,
    samples: int = 2000,
    images: tuple[str, OpenImages] | None = None,
    method: type | None = None,
    data: Any = None,
    device: str = "auto",
) -> tuple[list[Representation], ImageSet]:
    """Return the representations of the test images of a run by some of its checkpoints, layer after layer.

    Parameters
    ----------
    run : RunFolder
        The run.
    checkpoints : sequence of Path
        Checkpoints of it.
    layers : int
        The last n blocks of a vision transformer (class token, or mean of the patches), or the last n stages of another
        backbone with ``layer_prefixes`` (mean over places); 0: the output of the backbone only.
    samples : int
        Images at most, evenly spread over the data set.
    images : tuple, optional
        Name of another data set and function that opens it, as in
        :func:`ssl_core.evaluation.other_data.other_images.features_of_others`. Default: the run's first evaluation set.
    method, data, device
        As in :func:`ssl_core.evaluation.feature_cache.extract_features`.

    Raises
    ------
    RunError, ConfigError
        If the folder is not a run, a checkpoint is damaged, or the backbone has no such layers.
    """
    kind, config = read_config(run, method, data)
    model = kind(config)
    found = []
    with RunSession(config, writes=False, device=device) as session:
        model.use(session)
        name, loader = _images(model, images)
        loader, chosen = _sample(loader, samples)
        for checkpoint in checkpoints:
            state = read_state(checkpoint, torch.device("cpu"))
            model.build()
            load_weights(model, state["model"])
            model.eval()
            for layer, features in _representations(model, loader, layers).items():
                kept = features if chosen is None else features[chosen]
                check_features(f"the features of {run.path.name}, {checkpoint.name}", kept)
                found.append(Representation(checkpoint, state["progress"]["step"], layer, kept.cpu()))
        ids, labels = _ids(loader, session.distributed)
    if chosen is not None:
        ids, labels = ids[chosen], labels[chosen]
    facts: Any = ids.tolist(), labels.tolist(), getattr(loader, "fingerprint", dict)()
    return found, ImageSet(name, len(ids), hashlib.sha256(repr(facts).encode()).hexdigest()[:16])


def _images(model: Any, images: tuple[str, OpenImages] | None) -> tuple[str, Any]:
    if images is not None:
        return images[0], open_images(model, *images, key="images")
    evaluation = model.run.loaders.evaluation
    return next(iter(evaluation.items())) if evaluation else ("train", model.run.loaders.reference)


def _sample(loader: Any, samples: int) -> tuple[Any, Tensor | None]:
    """Return the loader of at most some images, or one of all images and the rows to keep of it."""
    total = len(loader.labels) if hasattr(loader, "labels") else None
    if total is None or total <= samples:
        return loader, None
    places = torch.linspace(0, total - 1, samples, dtype=torch.float64).round().long()
    return (loader.subset(places.numpy()), None) if hasattr(loader, "subset") else (loader, places)


def _ids(loader: Any, ranks: Any) -> tuple[Tensor, Tensor]:
    ids, labels = zip(*((index, label) for _, label, index in loader))
    ids, labels = (ranks.gather(torch.cat(each).to(ranks.device)).cpu() for each in (ids, labels))
    order = ids.argsort()
    return ids[order], labels[order]


def _representations(model: Any, loader: Any, layers: int) -> dict[str, Tensor]:
    """Return the name of each layer, in order, and its representation ``(N, D)``."""
    ranks = model.run.distributed
    if not layers:
        return {"": collect_features(loader, model.features, ranks, labelled=False)[0]}
    backbone: Any = getattr(model, "backbone", None)
    if hasattr(backbone, "intermediate_tokens"):
        depth = len(backbone.blocks)
        names = [f"block {number}" for number in range(depth)][-layers:]
        compute = partial(_of_blocks, backbone, len(names))
    else:
        prefixes = [each[-1] for each in getattr(backbone, "layer_prefixes", ())]
        names = prefixes[-layers:]
        compute = partial(_of_modules, backbone, names)
    if len(names) < layers:
        raise ConfigError(
            "this backbone has fewer layers to compare", key="layers", value=layers, expected=f"at most {len(names)}"
        )
    return dict(zip(names, collect_tokens(loader, partial(_computed, model, compute), ranks)))


@torch.no_grad()
def _computed(model: Any, compute: Any, x: Tensor) -> list[Tensor]:
    run = model.run
    with run.precision.autocast():
        return [widen(each) for each in compute(x.to(run.distributed.device, run.precision.dtype))]


def _of_blocks(backbone: Any, blocks: int, x: Tensor) -> list[Tensor]:
    return list(tokens_of_last_blocks(backbone, x, blocks)[1][:, :, 0].unbind(1))


def _of_modules(backbone: Any, names: Sequence[str], x: Tensor) -> list[Tensor]:
    """Return the outputs of modules, averaged over places, ``(N, D)`` each."""
    with _outputs(backbone, names) as outputs:
        backbone(x)
    return [outputs[name].flatten(2).mean(2) if outputs[name].ndim > 2 else outputs[name] for name in names]


@contextmanager
def _outputs(backbone: Any, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    outputs: dict[str, Tensor] = {}
    hooks = [
        backbone.get_submodule(name).register_forward_hook(lambda *call, name=name: outputs.update({name: call[2]}))
        for name in names
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
