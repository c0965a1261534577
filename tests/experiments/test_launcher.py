"""torchrun as the kit starts it: what the processes get, how a failure is told, and that none is left."""

import shutil
import subprocess
import sys
import time

import psutil
import pytest

from course_utils.experiments.launcher import _end, launch


def written(folder, text):
    (folder / "program.py").write_text(text)
    return "program.py"


def test_each_process_gets_its_rank_and_threads_and_nothing_of_another_launcher(tmp_path, monkeypatch, capsys):
    for name in ("SLURM_PROCID", "MASTER_ADDR", "RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "7")
    program = written(
        tmp_path,
        "import os, sys\n"
        "told = [os.environ.get(name) for name in ('WORLD_SIZE', 'OMP_NUM_THREADS', 'SLURM_PROCID')]\n"
        "open('rank' + os.environ['RANK'], 'w').write(str([*told, *sys.argv[1:]]))\n"
        "print('done') if os.environ['RANK'] == '0' else None\n",
    )
    assert launch(program, "a word", processes=2, threads=3, folder=tmp_path) == "done\n"
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["['2', '3', None, 'a word']"] * 2
    said = capsys.readouterr().out
    assert said == "$ OMP_NUM_THREADS=3 torchrun --standalone --nproc-per-node=2 program.py 'a word'\ndone\n"


def test_a_failure_is_told_by_the_processs_own_words(tmp_path, capsys):
    program = written(tmp_path, "raise KeyError('the planted fault')\n")
    with pytest.raises(RuntimeError, match=r"torchrun ended with status 1:(?s:.)*KeyError: 'the planted fault'$"):
        launch(program, folder=tmp_path, show=False)
    assert capsys.readouterr().out == ""


def test_what_does_not_end_is_ended(tmp_path):
    """Interrupted once both processes are there, as by Ctrl-C."""
    program = written(
        tmp_path,
        "import os, time\nopen('pid' + os.environ['RANK'], 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", program]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    try:
        pids = pids_in(tmp_path)
    finally:
        _end(started)
    assert not any(psutil.pid_exists(pid) for pid in [*pids, started.pid])


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) is not installed")
def test_nothing_outlives_a_program_that_was_killed(tmp_path):
    """As by a kernel's restart, which leaves no time to say anything."""
    program = written(
        tmp_path,
        "import os, time\nopen('pid' + os.environ['RANK'], 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )
    words = f"from course_utils.experiments.launcher import launch\nlaunch({program!r}, show=False)"
    parent = subprocess.Popen([sys.executable, "-c", words], cwd=tmp_path)
    try:
        pids = pids_in(tmp_path)
    finally:
        parent.kill()
        parent.wait()
    _, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=60)
    assert not left


def pids_in(folder):
    """The numbers of both processes, once they have written them down."""
    for _ in range(600):
        told = [file.read_text() for file in folder.glob("pid*")]
        if len(told) == 2 and all(told):
            return [int(one) for one in told]
        time.sleep(0.2)
    raise AssertionError("torchrun did not start its processes within two minutes")


def test_a_time_limit_is_named_and_leaves_nothing(tmp_path):
    program = written(tmp_path, "import time\ntime.sleep(600)\n")
    with pytest.raises(TimeoutError, match="the processes did not end within 1 s and were stopped"):
        launch(program, folder=tmp_path, timeout_s=1, show=False)
    assert not [one for one in psutil.Process().children(recursive=True) if one.cwd() == str(tmp_path)]


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="processes and threads must be at least 1, got processes=0 threads=1"):
        launch("program.py", processes=0)
