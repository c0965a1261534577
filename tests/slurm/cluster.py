"""A real Slurm on this machine for as long as a `with` block: several nodes, no systemd, no control groups, no GPUs.

Everything (key, sockets, state, logs) lies in one folder; the daemons are children of this process and end with it.
GPUs are device files that lead nowhere, so that requests for them are counted. Works for root and for anybody else.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "setpriv")
MISSING = "not installed: apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
NODES = {"ga001": ("a100", 2), "ga002": ("a100", 2), "gl001": ("l40s", 2)}
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}

CONF = """\
ClusterName=course
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=3600
ReturnToService=2
MessageTimeout=10
GresTypes=gpu
"""
PARTITIONS = """\
PartitionName=DEFAULT Nodes=ALL MaxTime=1-00:00:00 DefaultTime=00:10:00 State=UP
PartitionName=gpu Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=preempt PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
"""


def missing_program() -> str:
    """The first program of Slurm that is not here; empty where all are."""
    path = f"{os.environ['PATH']}:{SBIN}"
    return next((name for name in PROGRAMS if shutil.which(name, path=path) is None), "")


@dataclass
class Cluster:
    """A running cluster: how to reach it, and what to ask of it."""

    folder: Path
    environment: dict[str, str]
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *words: str, **options) -> subprocess.CompletedProcess[str]:
        """A command of Slurm, with its answer."""
        options = {"capture_output": True, "text": True, "env": self.environment, "timeout": 30, **options}
        return subprocess.run(words, **{"check": True, **options})  # noqa: PLW1510

    def sbatch(self, *words: str, cwd: Path, **variables: str) -> int:
        """Send a job from `cwd` with further environment variables; -> its number."""
        done = self.run("sbatch", "--parsable", *words, cwd=cwd, env={**self.environment, **variables}, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"sbatch: {done.stderr.strip()}")
        return int(done.stdout.partition(";")[0])

    def job(self, number: int) -> dict[str, str]:
        """What `scontrol show job` says: JobState, ExitCode, Restarts, ..."""
        shown = self.run("scontrol", "-o", "show", "job", str(number)).stdout.splitlines()[0]
        return dict(pair.partition("=")[::2] for pair in re.split(r"\s+(?=[\w/:]+=)", shown))

    def named(self, name: str, *, within: float = 240) -> int:
        """Wait until there is a job of a name, whoever sent it; -> its number."""
        until = time.monotonic() + within
        while not (found := self.run("squeue", "-h", "-t", "all", "-n", name, "-o", "%A").stdout.split()):
            if time.monotonic() > until:
                raise TimeoutError(f"no job {name} after {within} s")
            time.sleep(0.2)
        return int(found[0])

    def ended(self, number: int, *, within: float = 240) -> dict[str, str]:
        """Wait for the end of a job. Raises `TimeoutError` with what the queue and the log say."""
        return self.reached(number, lambda job: job["JobState"] in ENDED, within=within)

    def reached(self, number: int, holds, *, within: float = 240) -> dict[str, str]:
        """Wait until something holds for a job; a job that ended in another way ends the wait too."""
        until = time.monotonic() + within
        while not holds(job := self.job(number)):
            if time.monotonic() > until:
                log = Path(job.get("StdOut", "/nowhere"))
                said = log.read_text()[-3000:] if log.is_file() else "no log"
                raise TimeoutError(f"job {number} is {job['JobState']} after {within} s.\n{said}")
            time.sleep(0.2)
        return job

    def stop(self) -> None:
        """End all jobs, then the daemons, then whatever is left of them."""
        if all(daemon.poll() is None for daemon in self.daemons):
            self.run("scancel", "--quiet", "--user", self.environment["USER"], check=False)
            until = time.monotonic() + 12
            while self.run("squeue", "-h", check=False).stdout.strip() and time.monotonic() < until:
                time.sleep(0.1)
        for daemon in reversed(self.daemons):  # munged last: the others speak through it
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for _ in range(50):
            for process in self.processes():
                os.kill(process, signal.SIGKILL)
            if not self.processes():
                break
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """Every process of this cluster: it carries our SLURM_CONF, or works or writes in our folder."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_ours(entry)]

    def _is_ours(self, process: Path) -> bool:
        if int(process.name) == os.getpid():
            return False
        try:
            if f"SLURM_CONF={self.folder}/".encode() in (process / "environ").read_bytes():
                return True
            links = [process / "cwd", *(process / "fd").iterdir()]
            return any(str(link.readlink()).startswith(f"{self.folder}/") for link in links)
        except OSError:  # gone meanwhile, or another user's
            return False


@contextmanager
def running_cluster(*, accounts: bool = False) -> Iterator[Cluster]:
    """A cluster of three nodes: two with two A100 each, one with two L40S. `accounts`: a job without one is refused."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: a socket's path has 107 characters
    cluster = Cluster(folder, described(folder))
    try:
        write_files(folder, accounts)
        start(cluster)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def described(folder: Path) -> dict[str, str]:
    """The environment of its commands and jobs; nothing of a Slurm around us, one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "COURSE_"))}
    path = f"{os.environ['PATH']}:{SBIN}"
    ours = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": path, "USER": whoami(), "OMP_NUM_THREADS": "1"}
    ours["TMPDIR"] = f"{folder}/tmp"  # what a job that is killed leaves there goes with the cluster
    gone = ("SCRATCH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES")
    return {name: value for name, value in kept.items() if name not in gone} | ours


def write_files(folder: Path, accounts: bool) -> None:
    """The key, slurm.conf, gres.conf, and the rule about accounts."""
    for name in ("munge", "state", "spool", "dev", "log", "tmp"):
        (folder / name).mkdir()
    key = folder / "munge/key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    ports = free_ports(2 + len(NODES))
    host = socket.gethostname().partition(".")[0]
    lines, gres = [CONF.format(host=host, user=whoami(), folder=folder, ports=ports)], ["AutoDetect=off"]
    for (name, (kind, count)), port in zip(NODES.items(), ports[2:], strict=True):
        (folder / "spool" / name).mkdir()
        (folder / "dev" / name).mkdir()
        for index in range(count):  # only a character device makes Slurm set CUDA_VISIBLE_DEVICES
            (folder / "dev" / name / f"nvidia{index}").symlink_to("/dev/null")
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=256000 "
            f"Gres=gpu:{kind}:{count} Feature={kind} State=UNKNOWN\n"
        )
        gres.append(f"NodeName={name} Name=gpu Type={kind} File={folder}/dev/{name}/nvidia[0-{count - 1}]")
    if accounts:
        shutil.copy(HERE / "job_submit.lua", folder)
        lines.append("JobSubmitPlugins=lua\n")
    (folder / "slurm.conf").write_text("".join([*lines, PARTITIONS]))
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")
    asked = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True, env=described(folder))
    if [int(part) for part in asked.stdout.split()[-1].split(".")[:2]] >= [24, 5]:
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")


def whoami() -> str:
    """The user of this process, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_name


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(cluster: Cluster) -> None:
    """Start the daemons and wait until every node is idle. Raises `RuntimeError` with their logs."""
    folder = cluster.folder
    munge = {"key-file": "munge/key", "socket": "munge/socket", "pid-file": "munge/pid", "seed-file": "munge/seed"}
    places = [f"--{name}={folder}/{place}" for name, place in {**munge, "log-file": "log/munged"}.items()]
    begin(cluster, "munged", "--foreground", "--force", *places)
    wait_for(cluster, (folder / "munge/socket").exists)
    begin(cluster, "slurmctld", "-D")
    for name in NODES:
        begin(cluster, "slurmd", "-D", "-N", name)
    wait_for(cluster, lambda: len(idle_nodes(cluster)) == len(NODES))


def idle_nodes(cluster: Cluster) -> list[str]:
    """The nodes that wait for work."""
    return cluster.run("sinfo", "-h", "-N", "-p", "gpu", "-t", "idle", "-o", "%N", check=False).stdout.split()


def begin(cluster: Cluster, *words: str) -> None:
    """Start one daemon as a child, which the kernel ends when this process ends in whatever way."""
    log = cluster.folder / "log" / f"{len(cluster.daemons)}-{words[0]}.out"
    bound = ["setpriv", "--pdeathsig", "TERM", *words]
    options = {"env": cluster.environment, "cwd": cluster.folder, "start_new_session": True}
    with log.open("wb") as file:
        cluster.daemons.append(subprocess.Popen(bound, stdout=file, stderr=file, **options))


def wait_for(cluster: Cluster, holds, within: float = 30) -> None:
    """Wait until something holds; a daemon that ends meanwhile, or time that runs out, is a `RuntimeError`."""
    until = time.monotonic() + within
    while not holds():
        if any(daemon.poll() is not None for daemon in cluster.daemons) or time.monotonic() > until:
            logs = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in (cluster.folder / "log").iterdir())
            raise RuntimeError(f"Slurm did not come up:\n{logs}")
        time.sleep(0.1)


if __name__ == "__main__":  # `python tests/slurm/cluster.py COMMAND...` runs a command on a cluster of its own
    with running_cluster() as made:
        sys.exit(subprocess.run(sys.argv[1:], env=made.environment, check=False).returncode)
