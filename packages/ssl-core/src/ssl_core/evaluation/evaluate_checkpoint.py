"""Evaluate a checkpoint by a protocol: ``<run>/eval/<protocol>.json``, and its metrics in the run's summary."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from ssl_core.config.fine_tuning import FineTuning
from ssl_core.config.robustness import Corruptions, Shifts
from ssl_core.config.validation import check_groups
from ssl_core.evaluation.evaluation_file import check_evaluable, evaluation_head, evaluation_label, write_evaluation
from ssl_core.evaluation.feature_cache import extract_features
from ssl_core.evaluation.fine_tuning import fine_tune
from ssl_core.evaluation.online_metrics import VIEW_SAMPLES
from ssl_core.evaluation.opened_model import opened_model
from ssl_core.evaluation.other_data.other_images import OpenImages
from ssl_core.evaluation.other_data.reference_errors import check_reference
from ssl_core.evaluation.other_data.robustness import Results, evaluate_robustness
from ssl_core.evaluation.pictures.draw import draw_pictures
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_eval import Protocol, evaluate_features


def evaluate_checkpoint(
    run: RunFolder,
    protocol: Protocol,
    checkpoint: Path | None = None,
    method: type | None = None,
    data: Any = None,
    device: str = "auto",
    view_samples: int = VIEW_SAMPLES,
    fine_tuning: FineTuning | None = None,
    corruptions: Corruptions | None = None,
    shifts: Shifts | None = None,
    others: Mapping[str, OpenImages] | None = None,
) -> list[Path]:
    """Evaluate one checkpoint; write and return the files, one for each evaluation set.

    The pictures of ``protocol.pictures`` images are written next to them, ``<file>_<picture>.png``.

    Parameters
    ----------
    run : RunFolder
        The run.
    protocol : Protocol
        The metrics; the file is named after it, with the step for a checkpoint that is not the newest.
    checkpoint, method, data, device, view_samples
        As in :func:`ssl_core.evaluation.feature_cache.extract_features`.
    fine_tuning : FineTuning, optional
        Options of the fine-tuning. Default: no fine-tuning.
    corruptions, shifts : optional
        Options of the evaluation on corrupted images and on other folders: see
        :func:`ssl_core.evaluation.other_data.robustness.evaluate_robustness`. Default: none.
    others : mapping, optional
        Data sets that are out of distribution, as in :func:`ssl_core.evaluation.feature_cache.extract_features`.

    Raises
    ------
    DiskError
        If the file cannot be written. Earlier files are unchanged.
    RunError, ConfigError
        As :func:`ssl_core.evaluation.feature_cache.extract_features` and
        :func:`ssl_core.evaluation.fine_tuning.fine_tune`; a ConfigError on several ranks. Nothing is written then.
    ValueError
        As :func:`ssl_eval.evaluate_features`.
    """
    began = time.perf_counter()
    check_groups({"eval": protocol, "eval.corruptions": corruptions, "eval.shifts": shifts})
    if corruptions is not None:
        check_reference(corruptions, protocol.name)
    check_evaluable(run)
    tokens = protocol.needs_tokens
    extraction = extract_features(run, checkpoint, method, data, device, view_samples, tokens, others)
    extracted = time.perf_counter()
    source = run.checkpoints / extraction.facts["checkpoint"]
    tuned: dict[str, Any] = {}
    if fine_tuning is not None:
        config = read_config(run, method, data)[1]
        tuned = fine_tune(run, config, source, extraction.facts["sha256"], fine_tuning, device)
    results = {name: evaluate_features(features, protocol) for name, features in extraction.features.items()}
    with ExitStack() as opened:
        model = cache(lambda: opened.enter_context(opened_model(run, source, method, data, device)))  # once, if needed
        robust: Results = {}
        if corruptions is not None or shifts is not None:
            probe = next(iter(results.values())).probe  # the training features are those of all sets
            robust = evaluate_robustness(model(), extraction, protocol, corruptions, shifts, probe)
        written = []
        for name, found in results.items():
            result = found.to_dict()
            if fine_tuning is not None:
                result["settings"]["finetune"] = asdict(fine_tuning)
                result["metrics"] |= tuned["metrics"][name]
                result["fine_tuning"] = tuned["runs"]
            for key, values in robust.get(name, {}).items():  # metrics, omitted, corruptions, shifts
                if values:
                    result[key] = result.get(key, {}) | values
            label = protocol.name + (f"_{name}" if len(extraction.features) > 1 else "")
            label = evaluation_label(label, checkpoint, extraction.facts["step"])
            document = {
                **evaluation_head(protocol.name, extraction.facts, name, began),
                "seconds_of_extraction": 0.0 if extraction.cached else round(extracted - began, 3),
                **result,
            }
            draw = (
                partial(draw_pictures, model(), name, extraction.features[name], found) if protocol.pictures else None
            )
            written.append(write_evaluation(run, label, document, found.hits, draw))
    return written
