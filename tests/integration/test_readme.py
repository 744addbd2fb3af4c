"""Every command of the README and of the pages in docs/ is executed; a command that this test does not know fails it.

Overrides at the end make training commands small. The local launcher replaces that of SLURM, and the keys that only SLURM
has are left out. Sweeps take place in one process; those with a process for each run, which is the default, are tested in
``tests/launch/sweep``. The two lines for set-up and tests are those of CI: running them here would run this test again.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked
from code_blocks import code_blocks

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.rst").read_text()
PAGES = [ROOT / "README.rst", *sorted(ROOT.glob("docs/*.rst"))]
SLURM_ONLY = ("hydra.launcher.partition", "hydra.launcher.gpus_per_task")
# What a command about runs prints, and overrides that make it small
EXPECTED = {
    "ls": "finished", "eval": ".json", "report": "table.md", "list": "simclr", "views": ".png", "resume": "has finished",
    "watch": "1 finished", "data": "unreadable: none", "compare": "similarity.json",
}  # fmt: skip
CHANGES = {
    "eval simclr_affine_digits eval=finetune": ["eval.finetune.epochs=6", "eval.finetune.fractions=[0.1]"],
    "eval simclr_affine_digits eval=corruptions": ["eval.corruptions.severities=[1]"],
    "eval backbone=resnet9 data.size=16": ["model.backbone_options={width: 4}", "view_samples=0", "eval.few=[]"],
}
pytestmark = pytest.mark.slow


def commands():
    """Return ``(folder, command)`` for every command of the bash blocks; some are on several pages."""
    for block in (block for page in PAGES for block in code_blocks(page.read_text(), "bash")):
        folder = ROOT
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("cd "):
                folder = folder / line[3:].strip()
            elif line.strip():
                yield folder, line.strip()


COMMANDS = list(dict.fromkeys(commands()))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of CIFAR-10's layout with a few images, ``cifar10/{train,test}/<class>/*.png``."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 8)):
        for name in ("cat", "dog"):
            folder = root / "cifar10" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return root


def run(command, folder, images, fork=True):
    """Return the output of a command, in a forked process or by a new interpreter."""
    environment = {"OMP_NUM_THREADS": "1", "SSL_DATA_ROOT": str(images)}
    if fork:
        result = forked.run(command[command[0] == "python3" :], folder, **environment)
    else:
        environment = {**os.environ, **environment, "PATH": f"{forked.PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def small(outputs):
    return [
        "++optim.epochs=1", "++optim.warmup_epochs=0", "++optim.max_steps=2", "++optim.batch_size=32",
        "++model.backbone=resnet9", "++model.backbone_options={width: 4}", f"++log.folder={outputs}",
        "++log.report=false", "++hardware.num_threads=1", "++data.num_workers=1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images):
    """Return a working directory whose ``outputs/`` has the run ``simclr_affine_digits``, made small."""
    place = tmp_path_factory.mktemp("trained")
    run(
        ["stable-ssl", "train", "simclr_affine_digits", *small("outputs"), "++log.run=simclr_affine_digits"],
        place,
        images,
        fork=False,
    )
    return place


@pytest.mark.parametrize(("folder", "command"), COMMANDS, ids=[command[:70] for _, command in COMMANDS])
def test_command(folder, command, outputs, images, trained):
    if "hatch==" in command:
        assert command.startswith(
            "python3 -m venv .venv && .venv/bin/pip install hatch==1.18.2 && .venv/bin/hatch run "
        )
        script = command.rsplit(" ", 1)[1]
        assert f"\n{script} = " in (ROOT / "pyproject.toml").read_text()
        if script == "test":
            assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text()
        return
    words = [word.replace("=ROOT", f"={images}/cifar10") for word in shlex.split(command, comments=True)]
    if words[0] == "pip":  # the same resolution, without installing: see also test_wheels
        words = [word for word in words if word != "-e"]
        dry = [sys.executable, "-m", "uv", *words[:2], "--dry-run", "--no-index", "--no-build-isolation", *words[2:]]
        run([*dry, "--python", sys.executable], folder, images, fork=False)
    elif words[:2] == ["stable-ssl", "train"] or words[0] == "python3":
        words = [word for word in words if not word.startswith(SLURM_ONLY)]
        words = [word.replace("submitit_slurm", "submitit_local") for word in words]
        words += ["hydra/launcher=basic"] * ("-m" in words)
        own = outputs / str(COMMANDS.index((folder, command)))  # a folder for each command: some have the same name
        run([*words, *small(own)], folder, images, fork=command != "python3 main.py")
        summaries = [json.loads(path.read_text()) for path in own.glob("*/summary.json")]
        assert [summary["status"] for summary in summaries] == ["finished"] * (3 if "2,5,10" in command else 1)
        assert ("submitit" in summaries[0]["command"]) is ("submitit" in command)  # trained by a job
    elif words[0] == "stable-ssl":
        printed = run([*words, *CHANGES.get(" ".join(words[1:]), [])], trained, images)
        assert EXPECTED[words[1]] in printed
        if words[1] == "views":
            sheet = Path(printed.splitlines()[-1])
            overrides = ",".join(word.removeprefix("data.").replace(f"{images}/", "") for word in words[3:])
            assert sheet.name == f"{'-'.join(filter(None, ('Views', words[2], overrides)))}.png"
            assert Image.open(sheet).convert("L").getextrema() == (0, 255)
    else:
        raise AssertionError(f"README.rst has a command that no test runs: {command}")


def test_method_of_the_readme_trains(tmp_path, images):
    [code] = [block for block in code_blocks(TEXT) if "class MyIdea" in block]
    (tmp_path / "my_idea.py").write_text(code)
    run(
        [
            "python3",
            "my_idea.py",
            "++optim.epochs=2",
            "++optim.max_steps=3",
            "++log.folder=out",
            "++hardware.num_threads=1",
        ],
        tmp_path,
        images,
    )
    [run_folder] = [path.parent for path in (tmp_path / "out").glob("MyIdea*/summary.json")]
    assert (run_folder / "table.md").exists()
    assert (run_folder / "curves.png").exists()


def test_every_python_block_is_known():
    assert len(code_blocks(TEXT)) == 1


def test_files_linked_in_the_readme_exist():
    for target in re.findall(r"<([\w/.-]+\.\w+)>`_|image:: (\S+)|\.\. _[\w-]+: (packages/\S+)", TEXT):
        path = next(part for part in target if part)
        assert (ROOT / path).exists(), path
