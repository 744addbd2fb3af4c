"""Count the errors for typos, wrong types and impossible values of every key of every group and method.

For a run (``main.py``) and for an evaluation (``eval.py``, its protocol and fine-tuning).

python3 runs/bench/config_validation.py              # every one-edit typo of every key: minutes
python3 runs/bench/config_validation.py --sample 5   # five of each kind

All values are derived from the dataclasses. Then the time of errors and of ``--help`` is measured, each in a new process. Exit
code 0 if every error is raised before data is opened, the first suggestion is right for 95 % of the typos, every valid value is
accepted, and ``--help`` and the errors of all groups but ``model``, which imports torch, take less than 2 s (median).
"""

import argparse
import dataclasses
import math
import os
import random
import statistics
import string
import subprocess
import sys
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ssl_core.config import GROUPS
from ssl_core.methods import METHODS, method_class
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.config import DataConfig
from ssl_launch.commands.evaluate import PARTS, PROTOCOL, EvaluationConfig, asked_of
from ssl_launch.hydra_app.build_config import build_config
from ssl_launch.hydra_app.error_messages import EMBEDDED

EVALUATION_GROUPS = {"": EvaluationConfig, **PROTOCOL}
RUNS = Path(__file__).parents[1]
LETTERS = string.ascii_lowercase + string.digits + "_"
MAPPING, LIST = {"nothing": {"nothing": []}}, [["nothing"]]
WRONG = {  # type -> values of other types, among those that YAML gives
    bool: ["word", 2, 0.5, LIST, MAPPING],
    int: ["word", True, 0.5, LIST, MAPPING],
    float: ["word", True, LIST, MAPPING],
    str: [True, 2, 0.5, LIST, MAPPING],
    list: ["word", True, 2, 0.5, MAPPING],
    dict: ["word", True, 2, 0.5, LIST],
}
# key -> values that the metadata allows and check() must not
IMPOSSIBLE = {
    "data.views": ["nothing", [], ["nothing"], [{"nothing": 1}], [{"flip": "often"}]],
    "model.name": ["nothing"],
    "model.backbone": ["nothing", "timm/nothing"],
    "model.backbone_options": [{"nothing": 1}],
    "model.projector": [[], [0], [16, -1]],
    "model.whitening_size": [64],  # the dimensions of the embedding
    "optim.batch_size": [1],  # SimCLR compares two
    "optim.max_steps": [0, 0.0, 1.0, 1.5, -0.5],
    "optim.freeze": [{"backbone": 0}, {"backbone": 1.5}, {"backbone": -2}],
    "optim.patience": [3],  # of which metric?
    "log.label_free": [["nothing"]],
    "eval.name": ["", "a/b"],
    "eval.knn": [[0], [20, -1]],
    "eval.few": [[0], [-1], [1.5], [math.nan]],
    "eval.retrieval": [[0]],
    "eval.episodic": [[0], [1, -5]],
    "eval.finetune.fractions": [[0], [0.1, 1.5]],
    "eval.corruptions.names": [["frost"], ["fog", "fog"]],
    "eval.corruptions.severities": [[], [1, 1]],
    "eval.corruptions.reference": ["nothing"],
    "eval.shifts.folders": [["a/nothing", "b/nothing"]],
    "eval.transfer.datasets": [[], ["nothing"], ["CIFAR10", "CIFAR10"]],
    "eval.transfer.metrics": [{"nothing": "accuracy"}, {"CIFAR10": "nothing"}],
    "eval.dense.root": [None, ""],
    "eval.landmarks.root": [None, "", "nothing"],
    "eval.landmarks.ground_truth": ["nothing"],
    "eval.zero_shot.text_features": [None, "", "nothing", "nothing.pt"],
}
# their empty defaults are errors
WITHOUT_DEFAULT = {"eval.shifts.folders", "eval.dense.root", "eval.landmarks.root", "eval.zero_shot.text_features"}
# part of a protocol -> the values without which it is an error: paths that exist
NEEDED = {
    "dense": {"root": "data/shapes"},
    "landmarks": {"root": str(RUNS)},
    "zero_shot": {"text_features": str(RUNS.parent / "packages/ssl-data/src/ssl_data/digits.npz")},
}
# Any string is possible: names, and paths that the run looks for before it opens the data
ANY_WORD = {
    "method_class", "data_class",
    "data.root", "data.split", "data.image_key", "data.label_key", "data.eval_view", "data.batch_transform", "model.init_from",
    "model.teacher", "log.folder", "log.run", "log.wandb_project", "optim.monitor", "run", "backbone", "weights",
    "eval.finetune.views", "eval.transfer.root", "eval.dense.dataset", "eval.landmarks.dataset",
    "eval.zero_shot.features", "ood",
}  # fmt: skip
# Keys whose bounds need other values than the defaults of other keys
BESIDE_OTHERS = {
    "optim.batch_size", "optim.clip", "optim.max_steps", "eval.finetune.epochs", "model.whitening_size", "model.mask_ratio",
    "model.mask_ratio_spread", "model.predictor_width", "model.decoder_width", "model.queue_size", "model.num_matches",
}  # fmt: skip


@dataclasses.dataclass
class Key:
    """A key of a configuration, from its dataclass."""

    method: str
    group: str
    name: str
    annotation: Any
    metadata: Any
    default: Any

    def __str__(self) -> str:
        return f"{self.group}.{self.name}".lstrip(".")


def every_key() -> list[Key]:
    """Return the keys of all groups, those of the model once for each method."""
    kinds: list[tuple[str, str, Any]] = [("simclr", group, kind) for group, kind in GROUPS.items() if group != "model"]
    kinds += [("simclr", "data", DataConfig), *(("", group, kind) for group, kind in EVALUATION_GROUPS.items())]
    kinds += [(method, "model", method_class(method).config_class) for method in METHODS]
    found = []
    for method, group, kind in kinds:
        hints, default = typing.get_type_hints(kind), dataclasses.asdict(kind())
        found += [
            Key(method, group, each.name, hints[each.name], each.metadata, default[each.name])
            for each in dataclasses.fields(kind)
        ]
    return found


def model_group(method: str) -> dict[str, Any]:
    """Return the group ``model`` of a method with a backbone that is ready at once: ours."""
    needs_tokens = method in METHODS and getattr(method_class(method), "needs_tokens", False)
    return {"name": method} | ({} if needs_tokens else {"backbone": "resnet9"})


def error_line(method: str, group: str, values: dict[str, Any]) -> str:
    """Return the error of a configuration, or an empty string."""
    composed: dict[str, Any] = {"model": model_group(method)}
    composed[group] = {**composed.get(group, {}), **values}
    try:
        if group in EVALUATION_GROUPS:
            parts = {name: composed[f"eval.{name}"] for name in PARTS if f"eval.{name}" in composed}
            parts = {name: NEEDED.get(name, {}) | values for name, values in parts.items()}
            protocol = {**composed.get("eval", {}), **(parts or {"finetune": {}})}
            asked_of(OmegaConf.create({"run": "outputs/run", **composed.get("", {}), "eval": protocol}))
        else:
            build_config(composed, [])
    except ValueError as error:  # a ConfigError is one
        return str(error)
    return ""


def typos(word: str) -> Iterator[tuple[str, str]]:
    """Yield ``(kind, word)`` for all words at one edit (Damerau 1964)."""
    for at in range(len(word)):
        yield "deletion", word[:at] + word[at + 1 :]
        for letter in LETTERS:
            yield "substitution", word[:at] + letter + word[at + 1 :]
        yield "transposition", word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    for at in range(len(word) + 1):
        for letter in LETTERS:
            yield "insertion", word[:at] + letter + word[at:]


def some_typos(word: str, known: set[str], sample: int, generator: random.Random) -> Iterator[tuple[str, str]]:
    """Yield some typos of each kind, or all with ``sample=0``, without those that are another key."""
    by_kind: dict[str, set[str]] = {}
    for kind, typo in typos(word):
        if typo and typo not in known and not typo[0].isdigit():
            by_kind.setdefault(kind, set()).add(typo)
    for kind, found in by_kind.items():
        chosen = sorted(found)
        for typo in generator.sample(chosen, min(sample, len(chosen))) if sample else chosen:
            yield kind, typo


def count_typos(sample: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return how many typos of each kind were tried, raised an error, and had the right key as the first suggestion."""
    tried: Counter[str] = Counter()
    found: Counter[str] = Counter()
    right: Counter[str] = Counter()
    generator = random.Random(0)

    def take(kind: str, line: str, suggestion: str) -> None:
        tried[kind] += 1
        found[kind] += bool(line)
        right[kind] += f"did you mean {suggestion!r}?" in line

    keys = every_key()
    for key in keys:
        known = {each.name for each in keys if (each.group, each.method) == (key.group, key.method)}
        for kind, typo in some_typos(key.name, known, sample, generator):
            take(kind, error_line(key.method, key.group, {typo: key.default}), str(key))
    for group in ("data", *GROUPS):  # the group's own name
        first = next(str(key) for key in keys if key.group == group)
        for kind, typo in some_typos(group, {"data", *GROUPS}, sample, generator):
            take(f"{kind} in a group", error_line("simclr", typo, {first.split(".")[1]: 1}), first)
    fields = {each.name for each in dataclasses.fields(ViewSpec)}
    for field in sorted(fields):  # a user-defined view
        for kind, typo in some_typos(field, {*fields, "preset", "num_local"}, sample, generator):
            take(f"{kind} in a view", error_line("simclr", "data", {"views": [{typo: 1}, {}]}), field)
    for key in keys:  # a choice
        choices = key.metadata.get("choices", ())
        for choice in choices:
            for kind, typo in some_typos(choice, set(choices), min(sample or 1, 1), generator):
                value = [typo] if isinstance(key.default, list) else typo
                take(f"{kind} in a choice", error_line(key.method, key.group, {key.name: value}), choice)
    return tried, found, right


def wrong_types(key: Key) -> Iterator[Any]:
    """Yield values of wrong types."""
    members = typing.get_args(key.annotation) if typing.get_origin(key.annotation) not in (list, dict) else ()
    kinds = [typing.get_origin(member) or member for member in members or [key.annotation]]
    if Any in kinds:
        return
    if type(None) not in kinds:
        yield None
    present = [WRONG[kind] for kind in kinds if kind is not type(None)]
    yield from (value for value in present[0] if all(value in each for each in present[1:]))


def impossible(key: Key) -> Iterator[Any]:
    """Yield values of the right type that are not allowed."""
    limits = key.metadata
    for value in (
        *(limits[name] + step for name, step in (("low", -1), ("high", 1)) if name in limits),
        *(limits[name] for name in ("above", "below") if name in limits),
    ):
        yield [value] if isinstance(key.default, list) else value
    if {int, float} & {key.annotation, *typing.get_args(key.annotation)} and not isinstance(key.default, list):
        yield -12345  # not allowed for any number of ours
    if "float" in str(key.annotation):
        yield from (math.nan, math.inf, -math.inf)
    if "choices" in limits:
        yield ["nothing"] if isinstance(key.default, list) else "nothing"
    yield from IMPOSSIBLE.get(str(key), [])


def valid(key: Key) -> Iterator[Any]:
    """Yield valid values: the default, each choice, each inclusive bound."""
    if str(key) not in WITHOUT_DEFAULT:
        yield key.default
    for choice in set(key.metadata.get("choices", ())) - {"Rprop"}:  # it needs optim.weight_decay=0
        yield [choice] if isinstance(key.default, list) else choice
    if str(key) not in BESIDE_OTHERS:
        for value in (key.metadata[name] for name in ("low", "high") if name in key.metadata):
            yield [value] if isinstance(key.default, list) else value
    if str(key) == "optim.max_steps":
        yield from (-1, 1, 0.5, 20)
    if key.annotation is bool and str(key) not in BESIDE_OTHERS:
        yield from (True, False)


def count_values(values: Callable[[Key], Iterator[Any]]) -> tuple[int, int, list[str]]:
    """Return how many values were tried, how many raised an error that begins with the key, and the others."""
    tried, named, others = 0, 0, []
    for key in every_key():
        for value in values(key):
            line = error_line(key.method, key.group, {key.name: value})
            tried += 1
            if line.startswith((f"{key}=", f"{key}.", f"{key}:")):
                named += 1
            else:
                others.append(f"{key}={value!r}: {line or 'accepted'}")
    return tried, named, others


def without_any_impossible_value() -> set[str]:
    """Return the keys, but for true and false, that have no impossible value."""
    switches = (bool, bool | None)
    return {str(key) for key in every_key() if key.annotation not in switches and not list(impossible(key))}


def shipped() -> list[str]:
    """Return the names of all recipes."""
    names = {path.stem for folder in (RUNS / "configs", EMBEDDED) for path in folder.glob("*.yaml")}
    return sorted(names - {"evaluation"})


def command_line(script: str, *arguments: str) -> tuple[int, float]:
    """Return exit code and seconds of a script of ``runs/`` in a new process."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, script, *arguments], cwd=RUNS, capture_output=True, env=dict(os.environ))
    return done.returncode, time.perf_counter() - began


def measure_command_lines(repetitions: int) -> Iterator[tuple[str, bool, list[float], bool]]:
    """Yield ``(description, whether all exit codes are right, seconds, whether the limit holds)`` of real command lines."""
    generator = random.Random(0)
    keys = every_key()
    trained = [key for key in keys if key.method == "simclr" and key.group != "model"]
    judged = [key for key in keys if key.method == ""]
    unknown = {
        name: [f"{key}{generator.choice(string.ascii_lowercase)}=1" for key in generator.sample(some, repetitions)]
        for name, some in (("main.py", trained), ("eval.py", judged))
    }
    for what, code, commands, limited in (
        ("main.py --help", 0, [["--help"]] * repetitions, True),
        ("main.py, a misspelt key", 2, [[line] for line in unknown["main.py"]], True),
        ("main.py, an impossible value", 2, [["optim.lr=-1"]] * repetitions, True),
        ("main.py, an impossible value of model", 2, [["model.projector=[0]"]] * repetitions, False),
        ("main.py --cfg job", 0, [["--cfg", "job"]] * repetitions, False),
        ("eval.py --help", 0, [["--help"]] * repetitions, True),
        ("eval.py, a misspelt key", 2, [["run=outputs/run", f"++{line}"] for line in unknown["eval.py"]], True),
        ("eval.py, an impossible value", 2, [["run=outputs/run", "eval.knn=[0]"]] * repetitions, True),
    ):
        taken = [command_line(what.split(" ")[0].strip(","), *each) for each in commands]
        yield what, all(ended == code for ended, _ in taken), [seconds for _, seconds in taken], limited


def main() -> int:
    """Print the counts; return 0 if all limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="typos of each kind for each key; 0: all of them")
    parser.add_argument("--repetitions", type=int, default=10, help="command lines of each kind on the clock")
    given = parser.parse_args()
    DataConfig.open = opened  # type: ignore[method-assign]
    keys = every_key()
    print(f"{len(keys)} keys of {len(GROUPS) + 1} groups and {len(METHODS)} methods")
    tried, found, right = count_typos(given.sample)
    for kind in tried:
        print(f"{kind:27} {tried[kind]:7,} typos, {found[kind]:7,} errors, first suggestion right {right[kind]:7,}")
    share = right.total() / tried.total()
    print(f"{'all':27} {tried.total():7,} typos, {found.total():7,} errors, first suggestion right {100 * share:.2f} %")
    good = found == tried and share >= 0.95
    for what, values in (("values of a wrong type", wrong_types), ("impossible values", impossible)):
        number, named, others = count_values(values)
        print(f"{what}: {named:,} of {number:,} errors begin with the key", *others, sep="\n  ")
        good &= not others
    print(f"keys that may be any string: {', '.join(sorted(ANY_WORD))}")
    good &= without_any_impossible_value() == ANY_WORD
    number, named, _ = count_values(valid)
    print(f"valid values: {number - named:,} of {number:,} accepted")
    accepted = [name for name in shipped() if command_line("main.py", f"--config-name={name}", "--cfg", "job")[0] == 0]
    print(f"shipped configurations: {len(accepted)} of {len(shipped())} accepted ({', '.join(accepted)})")
    good &= named == 0 and accepted == shipped()
    for what, right_codes, seconds, limited in measure_command_lines(given.repetitions):
        print(f"{what:38} median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s of {len(seconds)}")
        good &= right_codes and (not limited or statistics.median(seconds) < 2)
    return 0 if good else 1


def opened(*_: Any, **__: Any) -> None:
    """Replace ``DataConfig.open``: no error may need the data."""
    raise AssertionError("data was opened")


if __name__ == "__main__":
    raise SystemExit(main())
