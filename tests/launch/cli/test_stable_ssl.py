"""The command ``stable-ssl``: one line for each mistake, help on one screen, runs resumed from their folder alone."""

import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from click.shell_completion import FishComplete, ZshComplete

import forked
import ssl_losses
from ssl_core import RunFolder
from ssl_core.errors import RunFolderError
from ssl_core.methods import METHODS
from ssl_core.run.lock import RunLock
from ssl_launch.cli.ls import listed
from ssl_launch.cli.main import cli, main
from ssl_launch.run_path import find_run

COMMANDS = cli.commands
IDEA = """
import torch
from ssl_core import BaseModel
from ssl_launch import launch


class MyIdea(BaseModel):
    def initialize_modules(self):
        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, self.num_classes), torch.nn.Dropout(0.1))

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        return torch.nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])


if __name__ == "__main__":
    launch(MyIdea)
"""
# Python runs it at start: the process is killed when its third checkpoint has got its name
KILLED = """
import itertools, os, signal
replace, count = os.replace, itertools.count(1)


def killing_replace(source, target):
    replace(source, target)
    if str(target).endswith(".pt") and next(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)


os.replace = killing_replace
"""
QUICK = {
    "optim": {"epochs": 4, "max_steps": 2, "batch_size": 64, "warmup_epochs": 0, "optimizer": "AdamW", "lr": 0.01},
    "data": {"views": "digits", "size": 16, "num_workers": 1, "per_class": 40},
    "log": {"checkpoint_every": 1, "eval_every": 2, "every_steps": 1, "report": False},
    "hardware": {"seed": 3},
}


def command(*words, cwd, code=0, **environment):
    """Run a command line in ``cwd``; return what it printed on both streams together.

    Commands that compute start in a forked process; those that set the environment of the interpreter in a new one.
    """
    words = ["stable-ssl", *words] if words[0] in (*COMMANDS, "--help") else words
    if {"eval", "report", "train", "views", "my_idea.py"} & set(words[:2]) and not environment:
        done = forked.run(words, cwd, merged=True, COLUMNS="80")
    else:
        done = subprocess.run(
            [str(forked.PROGRAM), *words[1:]] if words[0] == "stable-ssl" else [sys.executable, *words], cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **environment}, text=True, timeout=200,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def state(run):
    """Return the newest checkpoint of a run and its metrics without timings."""
    folder = RunFolder(run)
    newest = max(folder.checkpoints.glob("step_*.pt"))
    lines = [{k: v for k, v in line.items() if "second" not in k} for line in folder.read_metrics()]
    saved = torch.load(newest, weights_only=True)
    del saved["logger"]  # how many bytes of metrics.jsonl were written, timings among them
    return newest.name, saved, lines


def same(one, other):
    """Compare nested states to the bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a user has it: a method of one's own, ``configs/``, and two runs, one of which was killed."""
    here = tmp_path_factory.mktemp("place")
    (here / "my_idea.py").write_text(IDEA)
    (here / "configs").mkdir()
    (here / "configs" / "quick.yaml").write_text(yaml.safe_dump(QUICK))
    if shutil.which("git"):
        subprocess.run(
            "git init -q && git add my_idea.py && git -c user.name=a -c user.email=a@b commit -qm first",
            cwd=here,
            shell=True,
            check=True,
        )
    patch = tmp_path_factory.mktemp("patch")
    (patch / "sitecustomize.py").write_text(KILLED)
    command("my_idea.py", "--config-name=quick", "++log.run=whole", cwd=here)
    command(
        "my_idea.py",
        "--config-name=quick",
        "++log.run=killed",
        cwd=here,
        code=-signal.SIGKILL,
        PYTHONPATH=str(patch),
    )
    return here


@pytest.mark.slow
def test_killed_run_resumes_from_its_folder(place, tmp_path):
    """Oracle: the same run, never killed."""
    killed, whole = (tmp_path / "outputs" / name for name in ("killed", "whole"))
    shutil.copytree(place / "outputs", tmp_path / "outputs")
    said = command("ls", cwd=tmp_path)
    assert said.startswith("2 runs: 1 killed, 1 finished\n")
    [line] = [line for line in said.splitlines() if line.endswith("outputs/killed")]
    assert line.split()[:4] == ["killed", "2/4", "6", "digits/accuracy"]
    assert max(map(len, said.splitlines())) <= 80
    said = command("resume", "killed", cwd=tmp_path)
    assert said.startswith("'outputs/killed': versions, code, processor and threads are unchanged\n")
    assert "epoch 4: digits/accuracy" in said
    assert same(state(killed), state(whole))
    assert json.loads((killed / "summary.json").read_text())["status"] == "finished"
    said = command("resume", "outputs/killed", cwd=tmp_path)
    assert said == "'outputs/killed' has finished: epoch 4, step 8; --from-scratch trains it again\n"


@pytest.mark.slow
def test_resume_from_scratch_gives_identical_weights(place):
    whole = place / "outputs" / "whole"
    summary = json.loads((whole / "summary.json").read_text())
    before = (whole / "summary.json").read_text()
    (whole / "summary.json").write_text(
        json.dumps({**summary, "versions": {**summary["versions"], "torch": "1.0"}, "processor": "Z80"})
    )
    said = command("resume", "--from-scratch", str(whole), cwd=place.parent, OMP_NUM_THREADS="2")
    (whole / "summary.json").write_text(before)
    first = said.splitlines()[0]
    assert first.startswith(
        f"'{whole}': torch was 1.0, is {torch.__version__.partition('+')[0]}; processor was Z80, is "
    )
    assert first.endswith("threads are set to 1 as in the run (here: 2)")
    assert "uncommitted" not in first  # what git did not know of the code then is what it does not know now
    if shutil.which("git"):
        assert "+++ b/configs/quick.yaml" in (whole / "uncommitted.patch").read_text()
    again = place / "outputs" / "whole-again"
    (name, one, lines), (other_name, other, other_lines) = state(whole), state(again)
    assert (name, lines) == (other_name, other_lines)
    assert same(one, other)
    summary = json.loads((again / "summary.json").read_text())
    assert summary["method"]["file"] == str(place / "my_idea.py")
    assert summary["directory"] == str(place)  # where the first was started: its relative paths mean the same


@pytest.mark.slow
def test_shipped_method_through_all_commands(place):
    small = ["++model.backbone_options={width: 4}", "++model.backbone=resnet9", "++model.projector=[16, 8]"]
    command("train", "quick", "++log.run=simclr", *small, cwd=place)
    assert json.loads((place / "outputs" / "simclr" / "summary.json").read_text())["status"] == "finished"
    said = command("eval", "simclr", "++eval.few=[2]", "++eval.map_samples=0", "view_samples=0", cwd=place)
    assert "digits: standard protocol, step 8" in said
    command("report", "simclr", "--out", "compared", cwd=place)
    assert (place / "compared" / "index.html").stat().st_size > 0
    assert "1 finished" in command("watch", "--once", "outputs/simclr", cwd=place)
    said = command("views", "quick", "data.views=simclr", cwd=place)
    assert Path(said.splitlines()[-1]) == place / "outputs" / "Views-quick-views=simclr.png"
    assert "outputs/simclr' has finished" in command("resume", "outputs/simclr", cwd=place)


@pytest.mark.slow
def test_user_defined_method_is_evaluated_as_it_is_resumed(place, tmp_path):
    """By the class that the run has recorded; from ``--method`` where its file has moved."""
    quick = ["++eval.few=[]", "++eval.map_samples=0", "++eval.linear=false", "view_samples=0"]
    shutil.copytree(place / "outputs" / "whole", tmp_path / "runs" / "lr=1")
    said = command("eval", "runs/lr=1", *quick, cwd=tmp_path)
    assert "digits: standard protocol, step 8" in said
    metrics = json.loads((tmp_path / "runs" / "lr=1" / "eval" / "standard.json").read_text())["metrics"]
    summary = json.loads((tmp_path / "runs" / "lr=1" / "summary.json").read_text())
    summary["method"]["file"] = str(tmp_path / "gone.py")
    (tmp_path / "runs" / "lr=1" / "summary.json").write_text(json.dumps(summary))
    shutil.copyfile(place / "my_idea.py", tmp_path / "moved idea.py")
    words = ["runs/lr=1", "--method", "moved idea.py:MyIdea", "--cfg", "job"]
    assert "method_class: moved idea.py:MyIdea\n" in command("eval", *words, *quick, cwd=tmp_path)
    command("eval", *words[:3], *quick, "++eval.name=moved", cwd=tmp_path)
    assert json.loads((tmp_path / "runs" / "lr=1" / "eval" / "moved.json").read_text())["metrics"] == metrics


def test_missing_method_file_is_one_line(place, tmp_path):
    shutil.copytree(place / "outputs" / "killed", tmp_path / "killed")
    summary = json.loads((tmp_path / "killed" / "summary.json").read_text())
    summary["method"]["file"] = str(tmp_path / "gone" / "my_idea.py")
    (tmp_path / "killed" / "summary.json").write_text(json.dumps(summary))
    said = command("resume", "killed", cwd=tmp_path, code=2)
    assert said == (
        f"'{tmp_path}/killed': its method MyIdea was defined in '{tmp_path}/gone/my_idea.py', which is gone; name its new "
        "place with --method FILE.py:MyIdea\n"
    )


def test_code_inside_a_run_folder_is_not_executed(place, tmp_path):
    shutil.copytree(place / "outputs" / "killed", tmp_path / "theirs" / "killed")
    (tmp_path / "theirs" / "evil.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass MyIdea: pass\n")
    summary = json.loads((tmp_path / "theirs" / "killed" / "summary.json").read_text())
    summary["method"]["file"] = str(tmp_path / "theirs" / "evil.py")
    (tmp_path / "theirs" / "killed" / "summary.json").write_text(json.dumps(summary))
    said = command("resume", "theirs/killed", cwd=tmp_path, code=2)
    assert "which came with the run; to run that code, give --method FILE.py:MyIdea" in said
    assert not (tmp_path / "run").exists()


WRONG = [
    ("lss", "stable-ssl: No such command 'lss'; did you mean 'ls'?"),
    ("--versoin", "stable-ssl: No such option '--versoin'; did you mean '--version'?"),
    ("ls outputz", "stable-ssl ls: no run 'outputz', neither here nor in outputs/; did you mean 'outputs'?"),
    ("ls --srot age", "stable-ssl ls: No such option '--srot'; did you mean '--sort'?"),
    ("ls --sort agee", "'agee' is not one of folder, status, best, age, step; did you mean 'age'?"),
    ("resume wohle", "stable-ssl resume: no run 'wohle', neither here nor in outputs/; did you mean 'whole'?"),
    ("resume outputs/wohle", "did you mean 'outputs/whole'?"),
    ("resume outputs", "'outputs' is not a run: it has no config.yaml; stable-ssl ls lists runs"),
    ("resume my_idea.py", "stable-ssl resume: 'my_idea.py' is not a folder"),
    ("resume whole --from-scrach", "No such option '--from-scrach'; did you mean '--from-scratch'?"),
    ("resume", "stable-ssl resume: Missing argument 'RUN'."),
    ("replay whole", "it has not diverged; name a step with --step N"),
    ("export wohle", "stable-ssl export: no run 'wohle', neither here nor in outputs/; did you mean 'whole'?"),
    ("convert a.npz b.beton --mdoe raw", "stable-ssl convert: --mdoe: unknown option; did you mean '--mode'?"),
    ("sync-wandb whole --timeuot 3", "No such option '--timeuot'; did you mean '--timeout'?"),
    ("list recipies", "is not one of methods, backbones, losses, datasets, recipes; did you mean 'recipes'?"),
    ("doctor --jsn", "stable-ssl doctor: No such option '--jsn'; did you mean '--json'?"),
    ("report outputz", "stable-ssl report: no run 'outputz', neither here nor in outputs/; did you mean 'outputs'?"),
    ("report outputs --otu x", "stable-ssl report: No such option '--otu'; did you mean '--out'?"),
    ("watch outputs --onec", "stable-ssl watch: No such option '--onec'; did you mean '--once'?"),
    ("train --confg-name=quick", "--confg-name: unknown option; did you mean '--config-name'?"),
    ("train quik", "--config-name=quik: no such configuration; did you mean 'quick'?"),
    ("train quick simclr_digits", "quick simclr_digits: expected one recipe, then group.key=value"),
    ("train --cfg jbo", "argument --cfg/-c: invalid choice: 'jbo'; did you mean 'job'?"),
    ("train ++optim.lrr=1", "optim.lrr: unknown key; did you mean 'optim.lr'?"),
    ("eval c-lr=1", "run: no run 'c-lr=1', neither here nor in outputs/"),
    ("eval wohle", "run: no run 'wohle', neither here nor in outputs/; did you mean 'whole'?"),
    ("views ++data.viws=mae", "data.viws: unknown key; did you mean 'data.views'?"),
    ("ls --al", "stable-ssl ls: No such option '--al'.\n"),
    ("ls --sort", "stable-ssl ls: Option '--sort' requires an argument."),
    ("replay whole step=3", "unexpected extra argument (step=3); did you mean '--step 3'?"),
    ("compare whole samples=10", "no run 'samples=10', neither here nor in outputs/; did you mean '--samples 10'?"),
    ("data whole", "'whole' is a run, not a recipe; expected its configuration, outputs/whole/config.yaml"),
    ("train outputs/whole", "or `stable-ssl resume outputs/whole`"),
    ("train configs/quik", "--config-name=configs/quik: no such configuration; did you mean 'quick'?"),
]


def test_mistakes_are_one_line_with_a_suggestion(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for typed, line in WRONG:
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(main(typed.split()))
        shown = capsys.readouterr().err
        assert ended.value.code == 2, typed
        assert line.replace("{place}", str(place)) in shown, typed
        assert len(shown.splitlines()) == 1, shown


def test_damaged_summary_is_one_line(tmp_path):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "config.yaml").write_text("{}")
    (run / "summary.json").write_text('{"status": "runn')
    said = command("resume", "mine", cwd=tmp_path, code=2)
    assert said.startswith(f"'{run}/summary.json' is damaged: ")
    assert len(said.splitlines()) == 1


def test_help_fits_a_screen(capsys):
    for words in (["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit, match="0"):
            raise SystemExit(main(words))
        lines = capsys.readouterr().out.splitlines()
        assert 5 < len(lines) <= (32 if words[0] == "convert" else 24), words
        assert max(map(len, lines)) <= 80, words


def test_help_and_completion_import_neither_torch_nor_hydra(place):
    code = """if True:
    import sys
    from click.shell_completion import FishComplete
    from ssl_launch.cli.main import cli, main
    for name in cli.commands:
        assert name == "convert" or main([name, "--help"]) == 0
    for words in (["--help"], ["ls", "outputs"], ["ls", "--json", "outputs"], ["doctor"], ["list", "recipes"]):
        assert main(words) == 0, words
    for words, incomplete in (["train"], "optim."), (["resume"], "out"), (["train"], "sim"):
        assert FishComplete(cli, {}, "stable-ssl", "_X").get_completions(words, incomplete)
    print(sorted({"torch", "hydra", "numpy"} & sys.modules.keys()))
    """
    path = f"{place}"  # without nvidia-smi and SLURM, which are tested below
    assert command("-c", code, cwd=place, PATH=path).splitlines()[-1] == "[]"


def test_a_run_is_found_by_its_name(place, monkeypatch):
    monkeypatch.chdir(place)
    assert find_run("whole") == "outputs/whole"
    assert find_run("wh*") == "outputs/wh*"
    assert find_run("outputs/whole") == "outputs/whole"
    assert find_run(str(place)) == str(place)
    assert find_run("nothing") == "nothing"
    monkeypatch.chdir(place / "outputs")
    assert find_run("whole") == "whole"


def test_a_recipe_is_a_name_or_a_file(place, monkeypatch, capsys):
    (place / "mine").mkdir(exist_ok=True)
    (place / "mine" / "simclr_digits.yaml").write_text("defaults: [vicreg_cifar10, _self_]\noptim: {lr: 0.25}\n")
    monkeypatch.chdir(place)
    for words, lr, name in (
        (["simclr_cifar10_sgd", "optim.lr=2"], 2.0, "simclr"),  # of the package, from any directory
        (["quick"], 0.01, "simclr"),
        (["simclr_digits"], 0.002, "simclr"),
        (["mine/simclr_digits.yaml"], 0.25, "vicreg"),
        (["simclr_digits", "--config-path", "mine"], 0.25, "vicreg"),
    ):
        main(["train", *words, "--cfg", "job"])
        config = yaml.safe_load(capsys.readouterr().out)
        assert (config["optim"]["lr"], config["model"]["name"]) == (lr, name), words


def test_replay_export_and_convert_find_the_run(place, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(place)
    assert main(["replay", "whole", "--step", "1"]) == 0
    assert capsys.readouterr().out.startswith("step 1, ")
    assert main(["export", "whole", "--out", str(tmp_path / "w.safetensors")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'w.safetensors'}: a user-defined backbone, step 8\n"
    assert main(["convert", "digits", str(tmp_path / "d.beton"), "--quiet"]) == 0
    assert (tmp_path / "d.beton").stat().st_size > 0


def test_list_shows_every_name_with_a_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["methods", "backbones", "losses", "datasets", "recipes"]
    assert set(found["methods"]) == set(METHODS)
    assert set(found["losses"]) == set(ssl_losses.LOSSES)
    assert "simclr_cifar10_sgd" in found["recipes"]
    assert all(line and "\n" not in line for lines in found.values() for line in lines.values())
    assert main(["list", "datasets"]) == 0
    assert "CIFAR10" in capsys.readouterr().out


SHELLS = {
    "re": ["report", "resume", "replay"],
    "train qu": ["quick"],
    "train --config-n": ["--config-name"],
    "train ++optim.warmup": ["++optim.warmup_epochs="],
    "train hydra/launcher=submitit_s": ["hydra/launcher=submitit_slurm"],
    "train quick optim.schedule=": ["optim.schedule=cosine", "optim.schedule=constant"],
    "resume kil": ["killed"],
    "views quick row": ["rows="],
    "data quick sam": ["samples="],
    "da": ["data"],
    "resume outputs/kil": ["outputs/killed"],
    "eval kil": ["killed"],
    "ls --so": ["--sort"],
    "ls --sort s": ["status", "step"],
    "list rec": ["recipes"],
}


@pytest.mark.parametrize("shell", [ZshComplete, FishComplete])
def test_completion_of_zsh_and_fish(place, monkeypatch, shell):
    monkeypatch.chdir(place)
    for line, expected in SHELLS.items():
        *words, incomplete = line.split(" ")
        found = shell(cli, {}, "stable-ssl", "_STABLE_SSL_COMPLETE").get_completions(words, incomplete)
        assert sorted(item.value for item in found) == sorted(expected), line


def test_completion_in_a_real_bash(place):
    """Bash takes a word apart at ``=`` and wants what follows."""
    script = command("-m", "ssl_launch", cwd=place, _STABLE_SSL_COMPLETE="bash_source")
    lines = []
    for line in SHELLS:
        words = ["stable-ssl", *line.replace("=", " = ").split(" ")]
        words = words[:-1] if words[-2:] == ["=", ""] else words
        lines.append(
            f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1} COMPREPLY=(); _stable_ssl_completion stable-ssl; "
            'echo "${COMPREPLY[@]}"'
        )
    done = subprocess.run(
        ["bash", "-c", "\n".join([script, *lines])], cwd=place, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{forked.PROGRAM.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    expected = [sorted(word.partition("=")[2] or word for word in words) for words in SHELLS.values()]
    assert [sorted(line.split()) for line in done.stdout.splitlines()] == expected, done.stderr


def test_ls_shows_status_and_sorts(tmp_path):
    def make(name, status, metrics, **summary):
        folder = RunFolder(tmp_path / "outputs" / name)
        folder.checkpoints.mkdir(parents=True)
        folder.config.write_text(yaml.safe_dump({"optim": {"epochs": 5, "monitor": summary.pop("monitor", None)}}))
        folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in metrics) + '{"step": 9, "torn')
        folder.write_summary({"status": status, "step": 3, "epoch": 1, **summary})
        return folder

    rising = [{"step": k, "epoch": k, "digits/knn": value} for k, value in enumerate([0.5, 0.9, 0.7])]
    falling = [{"step": k, "epoch": k, "digits/knn": 0.1, "digits/loss": 3.0 - k, "train/loss": 0.0} for k in range(2)]
    runs = {
        name: make(name, *rest)
        for name, *rest in (("a", "finished", rising), ("b", "running", falling), ("c", "failed", []))
    }
    falls = make("d", "finished", falling, monitor="digits/loss")
    assert listed(falls.path).best == 2.0  # of a loss the lowest
    shutil.rmtree(falls.path)
    with RunLock(runs["b"].lock):
        assert listed(runs["b"].path).status == "running"
        found = json.loads(command("ls", "--json", "--sort", "best", cwd=tmp_path))
        assert [(each["folder"], each["status"], each["best"]) for each in found] == [
            ("outputs/a", "finished", 0.9), ("outputs/b", "running", 0.1), ("outputs/c", "failed", None),
        ]  # fmt: skip
        assert (found[0]["epoch"], found[0]["epochs"], found[0]["step"]) == (2, 5, 3)
        assert found[0]["age_seconds"] < 60
    assert listed(runs["b"].path).status == "killed"  # nobody holds its lock, and it never said that it ended
    runs["b"].lock.unlink()
    assert listed(runs["b"].path).status == "running"  # nothing is known of its process
    (tmp_path / "empty").mkdir()
    assert "holds no run" in command("ls", "empty", cwd=tmp_path, code=2)
    assert "'outputs'" in command("ls", cwd=tmp_path / "empty", code=2)
    runs["a"].write_summary({"status": "finished", "threads": "many"})
    with pytest.raises(RunFolderError, match="'threads' must be an integer"):
        runs["a"].read_summary()


def test_ls_accepts_damaged_run_folders(tmp_path, capsys):
    names = ["status", "step", "epoch", "metrics", "wall_seconds", "images_per_second"]
    values = [None, "x", [1], {"a": 1}, -1, 1.5, True, 10**400, math.nan]
    for number, value in enumerate(values):
        folder = RunFolder(tmp_path / f"{number}")
        folder.checkpoints.mkdir(parents=True)
        folder.config.write_text(yaml.safe_dump({"optim": {"epochs": value, "monitor": value, "batch_size": value}}))
        folder.summary.write_text(json.dumps(dict.fromkeys(names, value)))
        line = {"step": 1, "epoch": 1, "train/loss": 0.5, "digits/knn": 0.5}
        lines = [{**line, name: value} for name in line] + ["garbage", line, [value]]
        folder.metrics.write_text("".join(json.dumps(each) + "\n" for each in lines) + '{"step": 2, "epo')
    (tmp_path / "multirun.yaml").write_text("")
    assert main(["ls", *map(str, sorted(tmp_path.iterdir())), "--json"]) == 0
    printed, problem = capsys.readouterr()
    assert problem == f"skipped: '{tmp_path / 'multirun.yaml'}' is not a folder\n"
    assert [run["step"] for run in json.loads(printed)] == [1] * len(values)
    assert main(["ls", str(tmp_path)]) == 0


def test_doctor_shows_what_to_fix_and_exits_with_1(tmp_path):
    def tool(name, text, code=0):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)

    def doctor(code, *words, **environment):
        said = command("doctor", "--json", *words, cwd=tmp_path, code=code, PATH=f"{tmp_path}:/bin", **environment)
        return {each["what"]: each for each in json.loads(said)}

    tool("sbatch", "slurm 22.05.8")
    tool("sinfo", "gpu-he* up 1:00:00")
    tool("sacct", "Slurm accounting storage is disabled", code=1)
    tool("nvidia-smi", "NVIDIA H100, 81559 MiB, 580.1")
    found = doctor(1, OMP_NUM_THREADS="1", WANDB_API_KEY="0" * 40)
    assert found["accounting"]["state"] == "must"
    assert "a dead job is never noticed" in found["accounting"]["advice"]
    assert "gpu-he* up 1:00:00" in found["slurm"]["found"]
    assert found["gpu"]["found"].startswith("NVIDIA H100")
    assert found["wandb"]["state"] == "ok"
    assert found["threads"]["state"] == ("could" if len(os.sched_getaffinity(0)) > 1 else "ok")
    assert {"packages", "versions", "processor", "ffcv", "compiler", "disk"} <= found.keys()
    tool("sacct", "")
    found = doctor(0, NETRC=str(tmp_path / "none"))
    assert found["accounting"]["state"] == "ok"
    assert found["wandb"]["state"] == "could"
    assert all(each["advice"] for each in found.values() if each["state"] != "ok")
    shown = command("doctor", cwd=tmp_path, PATH=f"{tmp_path}:/bin")
    assert "ok     slurm      slurm 22.05.8" in shown
