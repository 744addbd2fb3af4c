"""Import and training on a system without Unix's modules, signals and ``/proc`` (macOS, Windows), simulated in a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = r"""
import builtins, importlib.util, io, os, signal, sys

for name in ("fcntl", "resource", "grp", "pwd"):
    sys.modules[name] = None  # an import raises ImportError
for module, names in {
    signal: ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGKILL"),
    os: ("getuid", "geteuid", "fork", "sched_getaffinity", "sched_setaffinity", "sysconf", "O_TMPFILE", "killpg"),
}.items():
    for name in names:
        delattr(module, name)


def portable(function):
    def call(path, *arguments, **options):
        if isinstance(path, (str, os.PathLike)):
            if os.fspath(path).startswith("/proc"):
                raise FileNotFoundError(path)
        return function(path, *arguments, **options)

    return call


def kill(process, number):
    raise AssertionError(f"os.kill({process}, {number}) ends the process on Windows")


os.kill = kill
os.open, builtins.open, io.open = portable(os.open), portable(open), portable(io.open)

import ssl_data.config, ssl_eval
import ssl_launch.cli.main, ssl_launch.commands.train, ssl_launch.hydra_app.app, ssl_launch.sweep.runner
from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, OptimConfig
from ssl_core.methods import method_class

conftest, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location("toy", conftest)
toy = sys.modules["toy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
SimCLR = method_class("simclr")
config = Config(
    data=toy.ToyData(),
    model=SimCLR.config_class(backbone="resnet9", backbone_options={"width": 4}, projector=[8, 4]),
    optim=OptimConfig(batch_size=16, epochs=2),
    hardware=HardwareConfig(device="cpu", precision="fp32"),
    log=LogConfig(folder=folder, run="run", every_steps=1, report=False, progress=False, checkpoint_every_steps=1),
)


class Stopped(SimCLR):
    def before_train_step(self):
        if self.progress.step == 2:
            self.run.stop.name = "SIGINT"


try:
    Stopped(config).fit()
except BaseException as error:
    print(type(error).__name__, flush=True)
SimCLR(config).fit()
print(BaseModel.from_run(os.path.join(folder, "run")).num_classes)
"""


def test_training_without_unix_features(tmp_path):
    """One epoch of SimCLR, stopped and resumed."""
    conftest = Path(__file__).parents[1] / "conftest.py"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(conftest), str(tmp_path)],
        env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.splitlines() == ["Preempted", "4"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"
