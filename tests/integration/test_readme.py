"""Every command of the README is executed; a new one that this test does not know fails it.

Training commands run as they are written, made small by overrides at their end. Where a line names SLURM's launcher, the
local one of the same plugin takes its place and the keys that only SLURM has are left out. The two set-up lines are those
of CI: running them here would run this test again.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.rst").read_text()
SLURM_ONLY = ("hydra.launcher.partition", "hydra.launcher.gpus_per_task")
pytestmark = pytest.mark.slow


def blocks(language):
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", TEXT)
    return ["\n".join(line[3:] for line in block.splitlines()) for block in found]


def commands():
    """Return ``(folder, command)`` for every line of the bash blocks, joined where they go on."""
    for block in blocks("bash"):
        folder = ROOT
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("cd "):
                folder = folder / line[3:].strip()
            elif line.strip():
                yield folder, line.strip()


COMMANDS = list(commands())


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


def run(command, folder, images):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SSL_DATA_ROOT": str(images)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def small(outputs):
    return [
        "++optim.epochs=1", "++optim.warmup_epochs=0", "++optim.max_steps=2", "++optim.batch_size=32",
        "++model.backbone=resnet9", "++model.backbone_options={width: 4}", f"++log.folder={outputs}",
        "++log.report=false", "++hardware.num_threads=1", "++data.num_workers=1",
    ]  # fmt: skip


@pytest.mark.parametrize(("folder", "command"), COMMANDS, ids=[command[:70] for _, command in COMMANDS])
def test_command(folder, command, outputs, images):
    if "hatch==" in command:
        assert command.startswith(
            "python3 -m venv .venv && .venv/bin/pip install hatch==1.18.2 && .venv/bin/hatch run "
        )
        script = command.rsplit(" ", 1)[1]
        assert f"\n{script} = " in (ROOT / "pyproject.toml").read_text()
        if script == "test":
            assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text()
        return
    words = shlex.split(command)
    if words[0] == "pip":  # the same resolution, without installing: see also test_wheels
        words = [word for word in words if word != "-e"]
        dry = [sys.executable, "-m", "uv", *words[:2], "--dry-run", "--no-index", "--no-build-isolation", *words[2:]]
        run([*dry, "--python", sys.executable], folder, images)
    elif words[:2] == ["ssl-eval", "report"]:
        run([*words[:2], str(outputs)], folder, images)
        assert (outputs / "report" / "table.md").exists()
    elif words[:2] == ["ssl-eval", "watch"]:
        assert "1 finished" in run(
            [*words[:2], str(outputs / str(COMMANDS.index((folder, "python3 main.py")))), *words[3:]], folder, images
        )
    elif words[:2] == ["stable-ssl", "ls"]:
        assert "finished" in run([*words[:2], str(outputs)], folder, images)
    elif words[:2] == ["stable-ssl", "resume"]:
        [trained] = (outputs / str(COMMANDS.index((folder, "python3 main.py")))).glob("*")
        assert "has finished" in run([*words[:2], str(trained)], folder, images)
    elif words[:2] == ["python3", "eval.py"]:
        words = shlex.split(command, comments=True)
        [trained] = (outputs / str(COMMANDS.index((folder, "python3 main.py")))).iterdir()
        changes = ["++eval.finetune.epochs=6", "++eval.finetune.fractions=[0.1]"] if "eval=finetune" in words else []
        if "backbone=resnet9" in words:
            trained = outputs / "baselines"
            changes = [
                f"++log.folder={trained}",
                "++model.backbone_options={width: 4}",
                "view_samples=0",
                "eval.few=[]",
            ]
        words = [word.replace("outputs/simclr_digits", str(trained)) for word in words]
        said = run([sys.executable, *words[1:], *changes], folder, images)
        assert re.search(rf"{trained}.*/eval/{'finetune' if 'eval=finetune' in words else 'standard'}\.json", said)
    elif words[0] == "python3":
        words = [word for word in words if not word.startswith(SLURM_ONLY)]
        words = [
            word.replace("submitit_slurm", "submitit_local").replace("=ROOT", f"={images}/cifar10") for word in words
        ]
        own = outputs / str(COMMANDS.index((folder, command)))  # a folder for each command: some have the same name
        run([sys.executable, *words[1:], *small(own)], folder, images)
        if words[1].endswith("show_views.py"):
            [sheet] = own.glob("*.png")
            assert Image.open(sheet).convert("L").getextrema() == (0, 255)
            return
        assert len(list(own.glob("*/summary.json"))) == (3 if "2,5,10" in command else 1)
    else:
        raise AssertionError(f"README.rst has a command that no test runs: {command}")


def test_the_idea_of_the_readme_trains(tmp_path, images):
    [code] = [block for block in blocks("python") if "class MyIdea" in block]
    (tmp_path / "my_idea.py").write_text(code)
    run(
        [sys.executable, "my_idea.py", "++optim.epochs=2", "++log.folder=out", "++hardware.num_threads=1"],
        tmp_path,
        images,
    )
    [run_folder] = [path.parent for path in (tmp_path / "out").glob("MyIdea*/summary.json")]
    assert (run_folder / "table.md").exists()
    assert (run_folder / "curves.png").exists()


def test_every_python_block_is_known():
    assert len(blocks("python")) == 1


def test_every_file_that_the_readme_points_at_exists():
    for target in re.findall(r"<((?:packages|runs)/[^>]+)>`_|image:: (\S+)|\.\. _[\w-]+: (packages/\S+)", TEXT):
        path = next(part for part in target if part)
        assert (ROOT / path).exists(), path
