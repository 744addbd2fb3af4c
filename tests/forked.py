"""Commands in forked processes, which have imported torch already.

A new interpreter takes 5 s of processor time until a training begins, a fork 0.1 s. Everything else of the process is new:
arguments, environment, working directory, output, exit code. Some tests start the same commands with a new interpreter.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("stable-ssl")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "hydra_plugins.hydra_optuna_sweeper._impl", "matplotlib.pyplot", "ssl_core.evaluation.evaluate_checkpoint",
        "ssl_core.methods.simclr", "ssl_core.training.fit_and_report", "ssl_data.loader", "ssl_eval.report.report",
        "ssl_launch.cli.main", "ssl_launch.commands.evaluate", "ssl_launch.commands.train", "ssl_launch.commands.views",
        "submitit", "torch._dynamo",
    ]
)  # fmt: skip


class Forked:
    """A command in a forked process, with those functions of :class:`subprocess.Popen` that tests use.

    Parameters
    ----------
    words : sequence of str
        A script, or ``stable-ssl``, and its arguments.
    cwd : Path
        Working directory.
    stdout, stderr : Path
        Files of the output; may be the same.
    environment : str
        Variables that are set in addition.
    """

    def __init__(self, words, cwd, stdout, stderr, **environment):
        script, *arguments = map(str, words)
        script = str(PROGRAM) if script == "stable-ssl" else script
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self._process = _context.Process(
            target=_execute, args=(script, arguments, str(cwd), str(stdout), str(stderr), environment)
        )
        self._process.start()

    @property
    def returncode(self):
        """The exit code, or None; negative for a signal."""
        return self._process.exitcode

    def poll(self):
        """Return the exit code, or None."""
        return self._process.exitcode

    def wait(self, timeout=None):
        """Wait for the end; return the exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return self._process.exitcode

    def send_signal(self, number):
        """Send a signal."""
        os.kill(self._process.pid, number)

    def terminate(self):
        """Send SIGTERM."""
        self._process.terminate()


def run(words, cwd, merged=False, timeout=240, **environment):
    """Run a command to its end and return its exit code and output, as :func:`subprocess.run` does.

    Parameters
    ----------
    words, cwd, environment
        As in :class:`Forked`.
    merged : bool
        Whether stderr goes to stdout.
    timeout : float
        Seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "out" if merged else "err")]
        code = Forked(words, cwd, *files, **environment).wait(timeout)
        return subprocess.CompletedProcess(words, code, *(file.read_text() for file in files))


def _execute(script, arguments, cwd, stdout, stderr, environment):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = [script, *arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path.insert(0, str(Path(cwd, script).parent))
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing does not call them
