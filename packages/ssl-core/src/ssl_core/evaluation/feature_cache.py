"""The frozen features of a checkpoint: extracted once, and kept in ``<run>/eval`` as safetensors.

The name of the file is a digest of all that the features depend on: see :mod:`ssl_core.evaluation.kept_features`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_core.base_model import BaseModel
from ssl_core.checkpoint.export import read_metadata, write_safetensors
from ssl_core.checkpoint.store import CheckpointStore, read_state, sha256_of
from ssl_core.errors import ConfigError, RunError
from ssl_core.evaluation.evaluation_file import check_test_images, checkpoint_facts
from ssl_core.evaluation.features import (
    collect_features,
    collect_tokens,
    collect_view_features,
    tokens_of_last_blocks,
)
from ssl_core.evaluation.kept_features import computed_by, data_keys, features_file
from ssl_core.evaluation.online_metrics import VIEW_SAMPLES
from ssl_core.evaluation.other_data.other_images import OpenImages, features_of_others
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.training.data.record import fingerprint_of
from ssl_core.training.session import RunSession
from ssl_core.training.trained_run import load_weights
from ssl_eval import Features, Tokens
from ssl_eval.validation import check_features

BLOCKS = 4  # last blocks of a vision transformer whose tokens are kept


@dataclass
class ExtractedFeatures:
    """The features of one checkpoint on each of its evaluation sets, and the facts that identify it."""

    features: dict[str, Features]  # name of the evaluation set -> features
    facts: dict[str, Any]  # checkpoint, sha256, step, epoch, seed, backbone
    cached: bool  # whether they were read from the cache
    datasets: dict[str, Any]  # fingerprint of the data; empty where the loaders have none


def extract_features(
    run: RunFolder,
    checkpoint: Path | None = None,
    method: type[BaseModel] | None = None,
    data: Any = None,
    device: str = "auto",
    view_samples: int = VIEW_SAMPLES,
    tokens: bool = False,
    others: Mapping[str, OpenImages] | None = None,
) -> ExtractedFeatures:
    """Return the features of the training and the evaluation images of a run by the backbone of a checkpoint.

    Parameters
    ----------
    run : RunFolder
        The run.
    checkpoint : Path, optional
        One of its checkpoints. Default: the newest intact one.
    method, data
        As in :func:`ssl_core.run.load_config.read_config`.
    device : {"auto", "cpu", "cuda"}
        Device of the computation, instead of the run's, which may be that of another machine.
    view_samples : int
        Training images of which augmented views are embedded, for LiDAR and the alignment, if the run has several views;
        0: none.
    tokens : bool
        Keep the tokens of the last blocks, too, in float16, if the backbone has any: 2 (L + 8) D bytes an image, in memory
        and in the file.
    others : mapping, optional
        Other data sets whose images are embedded, too, as :attr:`ssl_eval.Features.ood`: name -> function that opens them, as
        :func:`ssl_core.evaluation.other_data.other_images.features_of_others` takes it.

    Raises
    ------
    RunError, ConfigError
        If the folder is not a run, the checkpoint is not one of it or is damaged, or the data has no test images.
    """
    kind, config = read_config(run, method, data)
    path = checkpoint or CheckpointStore(run.checkpoints).newest()
    state = read_state(path, torch.device("cpu"))
    digest = sha256_of(path)
    model = kind(config)
    with RunSession(config, writes=False, device=device) as session:
        check_test_images(run, session.loaders)
        model.use(session)
        asked = {**computed_by(model, digest), "data": data_keys(config), "views": view_samples}
        asked["datasets"] = fingerprint_of(session.loaders)
        if tokens:
            asked["tokens"] = BLOCKS
        file = features_file(run, asked)
        progress = state["progress"]
        facts = checkpoint_facts(path, digest, config, progress["step"], progress["epoch"])
        cached = _read(file)
        prepare = cache(partial(_prepare, model, state["model"]))
        of_others = asked | dict.fromkeys(("tokens", "views", "datasets"))
        ood = features_of_others(model, prepare, others or {}, run, of_others)
        if cached is None:
            prepare()
            found = features_of(model, view_samples, tokens)
            _write(file, found)
        else:
            found = cached
        if ood:
            place = model.run.distributed.device if cached is None else torch.device("cpu")
            ood = {name: rows.to(place) for name, rows in ood.items()}
            found = {name: replace(features, ood=ood) for name, features in found.items()}
        return ExtractedFeatures(found, facts, cached is not None, asked["datasets"])


def _prepare(model: BaseModel, weights: dict[str, Tensor]) -> None:
    """Build an opened model (data, precision, ranks) with these weights."""
    model.build()
    load_weights(model, weights)
    model.eval()


def features_of(model: BaseModel, view_samples: int, tokens: bool = False) -> dict[str, Features]:
    """Return the features of a model with its weights, on each evaluation set."""
    loaders, ranks = model.run.loaders, model.run.distributed
    train, train_labels, train_tokens = _collected(model, loaders.reference, tokens)
    names = list(getattr(loaders, "class_names", ()))
    first = loaders.train.start(0, 0)
    views = collect_view_features(first, model.features, ranks, view_samples) if view_samples else None
    found = {}
    for name, loader in loaders.evaluation.items():
        test, test_labels, test_tokens = _collected(model, loader, tokens)
        for part, rows in (("training", train), (name, test)):
            check_features(f"the features of {part}", rows)
        kept = Tokens(train_tokens[0], test_tokens[0], train_tokens[1], test_tokens[1]) if test_tokens else None
        found[name] = Features(train, train_labels, test, test_labels, names, views, kept)
    return found


def _collected(model: BaseModel, loader: Any, tokens: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return features, labels and tokens of the labelled images; of all images if no image has a label.

    The tokens are those of :func:`~ssl_core.evaluation.features.tokens_of_last_blocks`, float16 on the CPU; an empty list if
    they are not asked for, or the backbone has none.
    """
    ranks, backbone = model.run.distributed, getattr(model, "backbone", None)
    features, labels = collect_features(loader, model.features, ranks, labelled=False)
    kept: list[Tensor] = []
    if tokens and hasattr(backbone, "intermediate_tokens"):
        kept = [each.cpu() for each in collect_tokens(loader, partial(_half_tokens, model), ranks)]
    known = labels >= 0
    if known.any():
        features, labels, kept = features[known], labels[known], [each[known.cpu()] for each in kept]
    return features, labels, kept


@torch.no_grad()
def _half_tokens(model: Any, x: Tensor) -> list[Tensor]:
    run, blocks = model.run, min(BLOCKS, len(model.backbone.blocks))
    with run.precision.autocast():
        x = x.to(run.distributed.device, run.precision.dtype)
        return [each.half() for each in tokens_of_last_blocks(model.backbone, x, blocks)]


def _write(file: Path, found: dict[str, Features]) -> None:
    tensors: dict[str, Tensor] = {}
    for name, features in found.items():
        tensors |= {"train": features.train, "train_labels": features.train_labels}
        tensors |= {f"test/{name}": features.test, f"test_labels/{name}": features.test_labels}
        if features.views is not None:
            tensors["views"] = features.views
        if features.tokens is not None:
            tensors |= {"train_tokens": features.tokens.train, "train_blocks": features.tokens.train_blocks}
            tensors |= {f"tokens/{name}": features.tokens.test, f"blocks/{name}": features.tokens.test_blocks}
        names = list(features.class_names)
    file.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    write_safetensors(file, contiguous, {"class_names": json.dumps(names), "sets": json.dumps(list(found))})


def _read(file: Path) -> dict[str, Features] | None:
    """Return the features in a file; None if it does not exist or is damaged."""
    if not file.exists():
        return None
    try:
        metadata, tensors = read_metadata(file), load_file(file)
        names = json.loads(metadata["class_names"])
        train, train_labels, views = tensors["train"], tensors["train_labels"], tensors.get("views")
        found = {}
        for name in json.loads(metadata["sets"]):
            tokens = None
            if "train_tokens" in tensors:
                parts = ("train_tokens", f"tokens/{name}", "train_blocks", f"blocks/{name}")
                tokens = Tokens(*(tensors[part] for part in parts))
            test, test_labels = tensors[f"test/{name}"], tensors[f"test_labels/{name}"]
            found[name] = Features(train, train_labels, test, test_labels, names, views, tokens)
        return found
    except (ConfigError, RunError, SafetensorError, OSError, KeyError, ValueError):
        return None
