"""Accuracy on changed images: corruptions of the test images, and other test sets with the same classes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_core.base_model import BaseModel
from ssl_core.config.robustness import Corruptions, Shifts
from ssl_core.errors import ConfigError
from ssl_core.evaluation.feature_cache import ExtractedFeatures
from ssl_core.evaluation.features import collect_features
from ssl_core.evaluation.kept_features import code_of, data_keys
from ssl_core.evaluation.other_data.classifiers import Classifier, fitted_classifiers
from ssl_core.evaluation.other_data.finished_parts import FinishedParts
from ssl_core.evaluation.other_data.reference_errors import read_reference
from ssl_eval import Protocol, accuracy, corruption_error, matched_classes, subset_scores
from ssl_eval.probes.linear import LinearProbeResult

Results = dict[str, dict[str, Any]]  # name of an evaluation set -> metrics, omitted, and parts of its file


def evaluate_robustness(
    model: BaseModel,
    extraction: ExtractedFeatures,
    protocol: Protocol,
    corruptions: Corruptions | None,
    shifts: Shifts | None,
    probe: LinearProbeResult | None = None,
) -> Results:
    """Evaluate the classifiers of a protocol, fitted to the clean training images of a run, on changed images.

    Parameters
    ----------
    model : BaseModel
        From :func:`ssl_core.evaluation.opened_model.opened_model`.
    extraction : ExtractedFeatures
        Its features of the clean images.
    protocol : Protocol
        ``knn``, ``linear``, ``temperature`` and ``seed`` are read.
    corruptions, shifts : optional
        What to evaluate.
    probe : LinearProbeResult, optional
        The linear probe of the training features. Default: it is fitted here.

    Returns
    -------
    dict
        Name of an evaluation set -> ``metrics``, ``omitted``, and the parts ``corruptions`` and ``shifts`` of its file.

    Raises
    ------
    ConfigError
        For data without corruptions or other folders, an unknown corruption, or a folder without training classes.
    """
    first = next(iter(extraction.features.values()))
    folders, omitted = ({}, {}) if shifts is None else _opened_folders(model, shifts, list(first.class_names))
    classifiers = fitted_classifiers(first, protocol, probe)
    if not classifiers:
        raise ConfigError("eval.linear=false, eval.knn=[]: expected a classifier, e.g. eval.linear=true")
    found: Results = {name: {"metrics": {}, "omitted": dict(omitted)} for name in extraction.features}
    parts = _finished_parts(model, extraction, protocol)
    if corruptions is not None:
        for name, result in _corruptions(model, extraction, protocol, corruptions, classifiers, parts).items():
            _merge(found[name], result)
    for name, opened in folders.items():
        result = _shift(model, classifiers, parts, name, *opened)
        for each in found.values():
            _merge(each, result)
    return found


def _merge(found: dict[str, Any], result: dict[str, Any]) -> None:
    for key, values in result.items():
        found[key] = found.get(key, {}) | values


def _finished_parts(model: BaseModel, extraction: ExtractedFeatures, protocol: Protocol) -> FinishedParts:
    facts = {
        "checkpoint": extraction.facts["sha256"],
        "method": code_of(type(model)),
        "data": data_keys(model.config),
        "datasets": extraction.datasets,
        "precision": model.run.precision.name,
        "protocol": {key: asdict(protocol)[key] for key in ("knn", "linear", "temperature", "seed")},
        "torch": torch.__version__,
    }
    return FinishedParts(model.run.folder.evaluations, "robustness", facts, model.run.distributed.is_main)


def _corruptions(
    model: BaseModel, extraction: ExtractedFeatures, protocol: Protocol, how: Corruptions,
    classifiers: dict[str, Classifier], parts: FinishedParts,
) -> Results:  # fmt: skip
    """Return errors and mean corruption errors of each evaluation set."""
    loaders: Any = model.run.loaders
    if not hasattr(loaders, "corrupted"):
        raise ConfigError(
            f"eval.corruptions: the loaders of {type(model.config.data).__name__} have no corrupted(name, severity, seed), "
            "which returns those of evaluation with a corruption"
        )
    names = how.names or list(loaders.corruptions)
    try:
        made = {(name, s): loaders.corrupted(name, s, how.seed) for name in names for s in how.severities}
    except ValueError as error:  # before anything is computed
        raise ConfigError(f"eval.corruptions: {error}") from error
    several = len(extraction.features) > 1
    errors: dict[str, Any] = {}
    references = {}
    for dataset, features in extraction.features.items():
        references[dataset] = read_reference(how, names, protocol.name, dataset if several else "")
        known = features.labelled()
        clean = {
            probe: 1 - accuracy(scores(known.test), known.test_labels, topk=(1,))[0]
            for probe, scores in classifiers.items()
        }
        errors[dataset] = {"clean": clean, "errors": {probe: {name: [] for name in names} for probe in classifiers}}
    for (name, severity), corrupted in made.items():
        for dataset, found in _errors(model, corrupted, classifiers, parts, f"{name} {severity} {how.seed}").items():
            for probe, value in found.items():
                errors[dataset]["errors"][probe][name].append(value)
    return {
        dataset: _summary(
            each, references[dataset], {"severities": how.severities, "seed": how.seed, "reference": how.reference}
        )
        for dataset, each in errors.items()
    }


def _errors(
    model: BaseModel, loaders: dict[str, Any], classifiers: dict[str, Classifier], parts: FinishedParts, part: str
) -> dict[str, dict[str, float]]:
    """Return the error of each classifier on each set; read if this part has finished before."""
    done = parts.get(part)
    if done is None:
        done = {}
        for dataset, loader in loaders.items():
            features, labels = collect_features(loader, model.features, model.run.distributed)
            done[dataset] = {
                probe: 1 - accuracy(scores(features), labels, topk=(1,))[0] for probe, scores in classifiers.items()
            }
        parts.add(part, done)
    return done


def _summary(errors: dict[str, Any], reference: dict[str, Any] | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of an evaluation set, and the part ``corruptions`` of its file."""
    metrics: dict[str, float] = {}
    omitted: dict[str, str] = {}
    ratios: dict[str, Any] = {}
    for probe, found in errors["errors"].items():
        metrics[f"corruption_error_{probe}"] = corruption_error(found).mean_error
        if reference is None:
            continue
        try:
            compared = corruption_error(
                found, errors["clean"][probe], reference["errors"].get(probe, {}), reference["clean"].get(probe, 0.0)
            )
        except ValueError as error:
            omitted[f"corruption_mce_{probe}"] = str(error)
            continue
        ratios[probe] = compared.corruption_errors
        metrics |= {f"corruption_mce_{probe}": compared.mce} if compared.mce is not None else {}
        if compared.relative_mce is not None:
            metrics[f"corruption_relative_mce_{probe}"] = compared.relative_mce
    part = {**settings, **errors, **({"corruption_errors": ratios} if ratios else {})}
    return {"metrics": metrics, "omitted": omitted, "corruptions": part}


def _opened_folders(
    model: BaseModel, how: Shifts, class_names: list[str]
) -> tuple[dict[str, tuple[str, Any, list[int]]], dict[str, str]]:
    """Return path, loader and training classes of each folder by its name; and why others are missing."""
    loaders: Any = model.run.loaders
    if not hasattr(loaders, "of_folder"):
        raise ConfigError(
            f"eval.shifts: the loaders of {type(model.config.data).__name__} have no of_folder(path), which returns the loader "
            "of a folder's images under the evaluation view, and the names of its classes"
        )
    found, missing = {}, {}
    for folder in how.folders:
        name = Path(folder).name
        try:
            loader, names = loaders.of_folder(folder)
            found[name] = folder, loader, matched_classes(names, class_names)
        except FileNotFoundError as error:
            missing[f"shift_{name}"] = str(error)
        except ValueError as error:
            raise ConfigError(f"eval.shifts.folders: '{folder}': {error}") from error
    if not found:
        raise ConfigError(
            f"eval.shifts.folders: none of {len(missing)} was found; the first: {next(iter(missing.values()))}"
        )
    return found, missing


def _shift(
    model: BaseModel, classifiers: dict[str, Classifier], parts: FinishedParts, name: str, folder: str, loader: Any,
    places: list[int],
) -> dict[str, Any]:  # fmt: skip
    """Return the accuracies on the images of a folder whose classes are training classes, among these classes."""
    part = f"{folder} {json.dumps(loader.fingerprint(), sort_keys=True)}"
    done = parts.get(part)
    if done is None:
        trained = np.asarray(places)[np.asarray(loader.labels)]
        kept = loader if (trained >= 0).all() else loader.subset(np.flatnonzero(trained >= 0))
        features, labels = collect_features(kept, model.features, model.run.distributed)
        labels = torch.tensor(places, device=labels.device)[labels]
        # On the CPU: scores are there if the features come from the cache, and CPU indices fit tensors of any device
        classes = torch.tensor(sorted(place for place in places if place >= 0))
        scored = {
            probe: subset_scores(scores(features, classes=classes), classes) for probe, scores in classifiers.items()
        }
        done = {
            "classes": len(classes),
            "images": len(labels),
            "left_out_images": len(trained) - len(labels),
            **{probe: accuracy(scores, labels, topk=(1,))[0] for probe, scores in scored.items()},
        }
        parts.add(part, done)
    return {
        "metrics": {f"shift_{probe}_{name}": done[probe] for probe in classifiers},
        "shifts": {name: {"folder": folder, **done}},
    }
