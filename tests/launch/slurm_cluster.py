"""A private SLURM cluster of one node for the tests, from Debian's packages. It starts in seconds. As root, also by hand:

apt-get install --no-install-recommends slurmctld slurmd slurm-client munge slurmdbd slurm-wlm-mysql-plugin mariadb-server
eval "$(python3 tests/launch/slurm_cluster.py start)"   # sets SLURM_CONF; the tests use a running cluster
sbatch --wrap hostname
python3 tests/launch/slurm_cluster.py stop

It needs neither systemd nor cgroups and does not touch an installed SLURM: ports, key, database and logs are private. It has
more processors than the machine and fake GPUs, so that jobs can request them.

- ``gpu-he`` is the default partition; its jobs preempt those in ``preemptible``, which receive a signal first.
- slurmdbd and a database serve ``sacct``: without it a killed job is never reported.
- Delays of SLURM (two minutes before a requeued job, by default) are as short as possible.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path("/tmp/ssl-slurm")  # of the cluster that is started by hand
CPUS, GPUS = 64, 2
PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacct")
DAEMONS = ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged")  # in stop order
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def reason_to_skip():
    """Return why no cluster can be started here, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no SLURM here: {', '.join(missing)} not installed"
    return None if os.geteuid() == 0 else "only root can start a SLURM"


class SlurmCluster:
    """One node, from :meth:`start` to :meth:`stop`, or within ``with``.

    Parameters
    ----------
    root : Path
        Folder of all files of the cluster; only root may write to it.
    """

    def __init__(self, root=ROOT):
        self.root = Path(root)
        self.conf = self.root / "slurm.conf"
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.conf)}

    @property
    def has_gpus(self):
        """Whether fake GPU devices could be created."""
        return (self.root / "gpu0").exists()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Start the daemons and wait until the node is idle."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("ctld", "d", "log", "munge", "mysql"):
            (self.root / name).mkdir(parents=True)
            (self.root / name).chmod(0o755)
        self.root.chmod(0o755)  # munged rejects a folder that others can write to
        self._write_configuration()
        munge = self.root / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o600)
        self._run(
            "munged", f"--key-file={munge}/key", f"--socket={munge}/socket", f"--pid-file={self._pid('munged')}",
            f"--log-file={self.root}/log/munged.log", f"--seed-file={munge}/seed", "--num-threads=4",
        )  # fmt: skip
        self._start_database()
        self._run("slurmdbd")
        self._until(lambda: self._says("sacctmgr", "-n", "-i", "show", "cluster") is not None, "slurmdbd")
        self._run("sacctmgr", "-i", "-Q", "add", "cluster", "test")
        self._run("slurmctld")
        self._until(lambda: "is UP" in (self._says("scontrol", "ping") or ""), "slurmctld")
        self._run("slurmd", "-N", _host())
        self._until(lambda: self._says("sinfo", "-h", "-o", "%T") in ("idle", "idle\nidle"), "the node")

    def settled(self, *command, seconds=30.0):
        """Return the output of ``sacct`` as soon as it lists no running job."""
        said: list = []

        def is_settled():
            said[:] = [self._says(*command) or ""]
            return said[0] and not any(state in said[0] for state in ("PENDING", "RUNNING", "REQUEUED", "COMPLETING"))

        self._until(is_settled, "the accounting of the jobs", seconds)
        return said[0]

    def stop(self):
        """Cancel all jobs and stop all daemons, by their recorded process ids."""
        if self._process("slurmctld") is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                jobs = (self._says("squeue", "-h", "-o", "%A") or "").split()
                if jobs:
                    self._says("scancel", *set(jobs))
                    self._until(lambda: not self._says("squeue", "-h", "-o", "%A"), "the jobs to end", seconds=10)
        for name in DAEMONS:
            self.stop_daemon(name)

    def stop_daemon(self, name):
        """Stop one of :data:`DAEMONS`."""
        process = self._process(name)
        for number in (15, 9):
            if process is not None and self._process(name) == process:
                os.kill(process, number)
                with contextlib.suppress(TimeoutError):
                    self._until(lambda: self._process(name) is None, f"{name} to end", seconds=10)
        self._pid(name).unlink(missing_ok=True)

    def _start_database(self):
        folder, socket_ = self.root / "mysql", self.root / "mysql" / "socket"
        shutil.chown(folder, "mysql")
        self._run(
            "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={folder}", "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip
        # the only daemon that does not daemonise itself
        shell = 'setsid "$@" </dev/null >/dev/null 2>&1 & echo $!'
        started = self._says(
            "sh", "-c", shell, "sh", "mariadbd", "--no-defaults", "--user=mysql", f"--datadir={folder}",
            f"--socket={socket_}", "--skip-networking", "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0", f"--log-error={folder}/log",
        )  # fmt: skip
        self._pid("mariadbd").write_text(str(started))
        ping = ("mariadb-admin", "--no-defaults", "-uroot", f"--socket={socket_}", "ping")
        self._until(lambda: self._says(*ping) is not None, "mariadbd")
        self.environment["MYSQL_UNIX_PORT"] = str(socket_)  # read by slurmdbd

    def _write_configuration(self):
        munge = f"socket={self.root}/munge/socket"
        host, (ctld, d, dbd) = _host(), _free_ports(3)
        devices = _fake_devices(self.root)
        gres = f"Gres=gpu:{len(devices)}" if devices else ""
        (self.root / "gres.conf").write_text(
            "AutoDetect=off\n" + "".join(f"NodeName={host} Name=gpu File={device}\n" for device in devices)
        )
        self.conf.write_text(
            f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld}
SlurmdPort={d}
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits one second longer than credentials live (BeginTime); by default two minutes
AuthInfo={munge},cred_expire=5
StateSaveLocation={self.root}/ctld
SlurmdSpoolDir={self.root}/d
SlurmctldPidFile={self._pid("slurmctld")}
SlurmdPidFile={self._pid("slurmd")}
SlurmctldLogFile={self.root}/log/slurmctld.log
SlurmdLogFile={self.root}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=5
MinJobAge=3600
MessageTimeout=10
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageTRES=gres/gpu
AccountingStorageHost=localhost
AccountingStoragePort={dbd}
AccountingStoragePass={self.root}/munge/socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=10
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} CoresPerSocket={CPUS} RealMemory=256000 {gres} State=UNKNOWN
PartitionName=gpu-he Nodes={host} Default=YES MaxTime=INFINITE DefaultTime=60 PriorityTier=10 State=UP
PartitionName=preemptible Nodes={host} MaxTime=INFINITE DefaultTime=60 PriorityTier=1 GraceTime=20 State=UP
"""
        )
        database = self.root / "slurmdbd.conf"  # slurmdbd reads it from the folder of slurm.conf
        database.write_text(
            f"""
AuthType=auth/munge
AuthInfo={munge}
DbdHost=localhost
DbdPort={dbd}
SlurmUser=root
PidFile={self._pid("slurmdbd")}
LogFile={self.root}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
        )
        database.chmod(0o600)

    def _run(self, *command):
        with open(self.root / "log" / "start.log", "ab") as log:
            result = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60
            )
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}: {Path(log.name).read_text()}")

    def _says(self, *command):
        """Return the output of a command, or None if it fails."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        return result.stdout.strip() if result.returncode == 0 else None

    def _until(self, condition, what, seconds=30.0):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(f"{path.name}: {path.read_text()[-500:]}" for path in self.root.glob("log/*.log"))
                raise TimeoutError(f"waited {seconds} s for {what}\n{logs}")
            time.sleep(0.1)

    def _pid(self, name):
        return self.root / f"{name}.pid"

    def _process(self, name):
        """Return the process id of a running daemon, or None; also None if another program has that id by now."""
        try:
            process = int(self._pid(name).read_text())
            status = Path(f"/proc/{process}/stat").read_text()
        except (OSError, ValueError):
            return None
        return process if f"({name})" in status and ") Z " not in status else None


def _host():
    return socket.gethostname().partition(".")[0]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _fake_devices(folder):
    """Return fake GPU devices, which SLURM allocates and nobody opens; an empty list if no device can be created."""
    devices = [folder / f"gpu{number}" for number in range(GPUS)]
    try:
        for device in devices:
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # another /dev/null
    except OSError:
        return []
    return devices


if __name__ == "__main__":
    if sys.argv[1:] not in (["start"], ["stop"]):
        sys.exit(__doc__)
    if sys.argv[1] == "stop":
        SlurmCluster().stop()
    elif reason_to_skip():
        sys.exit(reason_to_skip())
    else:
        SlurmCluster().__enter__()
        print(f"export SLURM_CONF={SlurmCluster().conf}")
