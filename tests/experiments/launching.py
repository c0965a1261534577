"""Start two processes with torchrun as a student would, and see that none of them is left behind."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psutil

WORKER = Path(__file__).with_name("ddp_worker.py")
TRAIN = ("-m", "course_utils", "train", "--ddp", "--scale", "smoke", "--device", "cpu", "--log-every", "1")


class Launched:
    """torchrun with two processes of `words`, in the folder `cwd`; all that it starts carries a mark of its own."""

    def __init__(self, *words, cwd):
        self.mark = uuid.uuid4().hex
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
        environment |= {"COURSE_TEST_MARK": self.mark, "COURSE_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            *map(str, words),
        ]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)

    def ended(self, timeout=240):
        """Wait for the launcher; -> (exit status, standard output, standard error), once nothing of it is left."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        finally:
            left = self.processes()
            for one in left:
                one.kill()
        assert not left, f"still there: {left}"
        return self.process.returncode, out, err

    def processes(self):
        """All processes that the launcher has started and itself."""
        found = []
        for one in psutil.process_iter():
            try:
                if one.status() != psutil.STATUS_ZOMBIE and one.environ().get("COURSE_TEST_MARK") == self.mark:
                    found.append(one)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def rank(self, rank):
        """The process of a rank."""
        return next(one for one in self.processes() if one.environ().get("RANK") == str(rank))
