"""``stable-ssl completion bash|zsh``: a script for the shell, and the words that it asks for. No torch is imported."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_launch.cli.main import COMMANDS
from ssl_launch.cli.parser import CommandParser, one_of

DESCRIPTION = """Print a script that completes commands, options, configurations, keys and runs.

  bash   eval "$(stable-ssl completion bash)"    in ~/.bashrc
  zsh    eval "$(stable-ssl completion zsh)"     in ~/.zshrc, after compinit"""
BASH = r"""_stable_ssl() {
    local line="${COMP_LINE:0:COMP_POINT}" last prefix="" IFS=$'\n'
    last="${line##* }"
    # bash takes a word apart at = and :, and wants what follows the last of them
    [[ "$last" == *[=:]* ]] && prefix="${last%"${last##*[=:]}"}"
    COMPREPLY=($(stable-ssl completion words "$line" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    [[ ${#COMPREPLY[@]} == 1 && "${COMPREPLY[0]}" == *[=/] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _stable_ssl stable-ssl
"""
ZSH = r"""_stable_ssl() {
    local -a found
    found=("${(@f)$(stable-ssl completion words "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- "${(@)found:#}"
}
compdef _stable_ssl stable-ssl
"""
TAKES_RUNS = ("resume", "ls", "watch", "report")  # as arguments; eval as run=
HYDRA = ("--config-name=", "--config-dir=", "--config-path=", "--cfg=job", "--help", "-m")
OPTIONS = {"report": ["--out"], "watch": ["--every", "--once"]}  # of ssl-eval's parsers


def main(arguments: Sequence[str]) -> int:
    """Print the script, or the words for the line that a shell gives."""
    parser = CommandParser("completion", DESCRIPTION)
    parser.add_argument("shell", type=one_of("bash", "zsh", "words"), metavar="SHELL", help="bash or zsh")
    parser.add_argument("line", nargs="?", default="", help="for the scripts: the line up to the cursor")
    chosen = parser.parse(arguments)
    if chosen.shell == "words":
        words = chosen.line.split(" ")[1:]
        print(*completions([word for word in words[:-1] if word], words[-1] if words else ""), sep="\n")
    else:
        print({"bash": BASH, "zsh": ZSH}[chosen.shell], end="")
    return 0


def completions(before: Sequence[str], word: str) -> list[str]:
    """Return what a word may become, in order.

    Parameters
    ----------
    before : sequence of str
        The words before it, but for ``stable-ssl``.
    word : str
        What is typed of it.

    Examples
    --------
    >>> completions([], "re")
    ['report', 'resume']
    >>> completions(["train"], "++optim.wa")
    ['++optim.warmup_epochs=']
    >>> completions(["train", "--config-name=simclr_digits"], "optim.schedule=")
    ['optim.schedule=constant', 'optim.schedule=cosine']
    """
    if not before:
        found = [*COMMANDS, "--help"]
    elif before[-1] in ("--config-name", "-cn"):
        found = list(_configurations())
    elif before[0] in ("train", "views"):
        found = list(_for_training(word))
    elif before[0] == "eval":
        found = list(_for_evaluation(word))
    elif before[0] == "completion":
        found = ["bash", "zsh"]
    else:
        found = [*_options(before[0]), *(_runs(word) if before[0] in TAKES_RUNS else [])]
    return sorted({each for each in found if each.startswith(word)})


def _options(command: str) -> list[str]:
    if command in OPTIONS or command not in COMMANDS:
        return [*OPTIONS.get(command, []), "--help"]
    return importlib.import_module(COMMANDS[command].split(":")[0]).options()


def _for_training(word: str) -> Iterator[str]:
    if word.startswith("--config-name="):
        yield from (f"--config-name={name}" for name in _configurations())
    elif "=" in word:
        key = word.partition("=")[0]
        yield from (f"{key}={value}" for value in _values(key.lstrip("+")))
    elif word.startswith("-"):
        yield from HYDRA
    else:
        plus = word[: len(word) - len(word.lstrip("+"))]
        yield from (f"{plus}{key}=" for key in _keys())
        yield from ("hydra/launcher=", "--config-name=")


def _for_evaluation(word: str) -> Iterator[str]:
    if word.startswith("run="):
        yield from (f"run={run}" for run in _runs(word.removeprefix("run=")))
    else:
        yield from (
            "run=",
            "checkpoint=newest",
            "checkpoint=all",
            "eval=standard",
            "eval=full",
            "device=",
            "view_samples=",
        )
        yield from ("--watch", "--method", "--data", "--help", "hydra/launcher=submitit_slurm")


def _configurations() -> Iterator[str]:
    for folder in (Path("configs"), Path(__file__).parents[1] / "configs"):
        yield from (path.stem for path in folder.glob("*.yaml") if path.stem != "evaluation")


def _keys() -> dict[str, tuple[Any, Any]]:
    """Return ``group.key`` -> (annotation, metadata), of all methods."""
    import dataclasses

    from ssl_core.config import GROUPS
    from ssl_core.methods import METHODS, config_class
    from ssl_data.config import DataConfig

    groups: list[tuple[str, Any]] = [("data", DataConfig), *GROUPS.items()]
    groups += [("model", config_class(name)) for name in METHODS]
    return {
        f"{name}.{each.name}": (each.type, each.metadata) for name, kind in groups for each in dataclasses.fields(kind)
    }


def _values(key: str) -> Sequence[str]:
    """Return what a key may be, where that is a few words."""
    if key == "hydra/launcher":
        return ["submitit_slurm", "submitit_local"]
    if key == "model.name":
        from ssl_core.methods import METHODS

        return list(METHODS)
    if key == "model.backbone":
        from ssl_core.backbones import backbone_names

        return backbone_names()
    if key == "data.views":
        from ssl_data import view_names

        return view_names()
    annotation, metadata = _keys().get(key, (None, {}))
    return ["true", "false"] if annotation is bool else metadata.get("choices", ())


def _runs(word: str) -> Iterator[str]:
    """Give folders that the word may become; those that are no runs end in a slash, and may hold some."""
    from ssl_eval.run_record import is_run

    for path in Path().glob(f"{word}*") if not word.startswith("/") else Path("/").glob(f"{word[1:]}*"):
        if path.is_dir() and not path.name.startswith("."):
            yield str(path) if is_run(path) else f"{path}/"
