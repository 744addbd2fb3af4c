"""One thread, and features that look like those of an encoder: correlated, rectified, classes that overlap."""

import json

import numpy as np
import pytest
import torch
import yaml


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_features():
    """``(num_samples, width, num_classes, separation, seed) -> features, labels``; same classes for every seed."""

    def make(num_samples=300, width=16, num_classes=4, separation=1.0, seed=0, dtype=torch.float64):
        fixed = torch.Generator().manual_seed(99)
        centres = separation * torch.randn(num_classes, width, generator=fixed, dtype=torch.float64)
        mixing = torch.randn(width, width, generator=fixed, dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(num_samples) % num_classes
        labels = labels[torch.randperm(num_samples, generator=generator)]
        noise = torch.randn(num_samples, width, generator=generator, dtype=torch.float64)
        return torch.relu((centres[labels] + noise) @ mixing).to(dtype), labels

    return make


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder as a trainer does; ``changes`` are dotted keys of its configuration."""

    def make(
        name,
        changes=(),
        status="finished",
        epochs=6,
        done=None,
        final=0.9,
        seed=0,
        table=None,
        evaluation=None,
        earlier=None,
        **summary,
    ):
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        config = {
            "data": {"dataset": "digits", "num_workers": 0},
            "model": {"name": "simclr"},
            "optim": {"lr": 0.5, "epochs": epochs},
            "hardware": {"seed": seed},
            "log": {"folder": str(tmp_path), "run": name},
        }
        for key, value in dict(changes).items():
            group, field = key.split(".")
            config[group][field] = value
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        done = epochs if done is None else done
        lines = []
        for step in range(1, 4 * done + 1):
            lines.append({"step": step, "epoch": (step - 1) // 4, "train/loss": 5.0 / step, "train/lr": 0.1})
            if step % 8 == 0:
                share = step / (4 * epochs)
                values = {"accuracy": final * share, "knn": share * (final - 0.02), "probe_backbone": final * share}
                lines[-1] |= {"epoch": step // 4} | {f"digits/{k}": v for k, v in values.items()}
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        facts = {"status": status, "epoch": done, "step": 4 * done, "seed": seed, "wall_seconds": 90.0, **summary}
        (folder / "summary.json").write_text(json.dumps(facts))
        if table is not None:
            (folder / "table.json").write_text(json.dumps(table))
        if evaluation is not None:
            (folder / "eval").mkdir()
            values = {"protocol": "standard", "step": 4 * done, "epoch": done, "dataset": "digits", **evaluation}
            hits = values.pop("hits", None)
            if hits is not None:
                np.save(folder / "eval" / "standard_hits.npy", hits)
                values["hits"] = "eval/standard_hits.npy"
            (folder / "eval" / "standard.json").write_text(json.dumps(values))
            for step, metrics in (earlier or {}).items():
                other = {
                    "protocol": "standard",
                    "step": step,
                    "epoch": step // 4,
                    "dataset": "digits",
                    "metrics": metrics,
                }
                (folder / "eval" / f"standard_step_{step}.json").write_text(json.dumps(other))
        return folder

    return make


@pytest.fixture
def full_evaluation():
    """``(accuracy, classes) -> dict``: everything that an evaluation may hold."""

    def make(accuracy=0.9, classes=10, seed=0):
        generator = torch.Generator().manual_seed(seed)
        counts = torch.full((classes, classes), 1) + torch.eye(classes, dtype=torch.int64) * 50
        counts[1, 0] = 20
        per_class = (accuracy + 0.02 * torch.randn(classes, generator=generator)).clamp(0, 1).tolist()
        points = torch.randn(60, 2, generator=generator).tolist()
        return {
            "metrics": {
                "knn_20": accuracy,
                "linear": accuracy,
                "linear_1_percent": {"mean": accuracy - 0.2, "std": 0.01, "n": 5, "interval": [0.6, 0.8]},
                "rankme": 100 * accuracy,
                "ece": 0.03,
            },
            "per_class": {"names": [f"class {k}" for k in range(classes)], "accuracy": [None, *per_class[1:]]},
            "confusion": counts.tolist(),
            "reliability": {"confidence": [None, 0.5, 0.9], "accuracy": [None, 0.4, 0.95], "count": [0, 10, 50]},
            "spectrum": [2.0**-k for k in range(20)],
            "map": {"pca": points, "tsne": points, "labels": [k % classes for k in range(60)]},
        }

    return make


@pytest.fixture
def tables_only(monkeypatch):
    """Reports without figures: these take the seconds, and other tests look at them."""
    monkeypatch.setattr("ssl_eval.report.report.drawings", lambda *_: [])
