"""The doctor: each row's verdict against a machine that is rigged to deserve it, and an answer without torch."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_utils.classroom import doctor

NAMES = [
    "Python",
    "compiler",
    "torch",
    "device",
    "threads",
    "memory",
    "disk",
    "data",
    "weights",
    "Lab and kernel",
    "Slurm",
]


def test_the_table_has_every_row_and_json_says_the_same(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert doctor.main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in answer["rows"]] == NAMES
    assert answer["ok"] is True
    assert all(row["state"] in ("ok", "warn") for row in answer["rows"])
    assert all(bool(row["fix"]) == (row["state"] != "ok") for row in answer["rows"])


def test_a_failing_row_decides_the_exit_code_and_shows_its_fix(capsys, monkeypatch):
    rows = [doctor.Row("torch", "fail", "not installed", "type this"), doctor.Row("Slurm", "ok", "not here")]
    monkeypatch.setattr(doctor, "CHECKS", [lambda row=row: row for row in rows])
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "torch  fail  not installed",
        "             -> type this",
        "Slurm  ok    not here",
        "",
        "The course cannot run here until the rows marked fail are mended.",
    ]


def test_without_torch_and_jupyter_the_doctor_still_answers():
    """A Python with no packages at all runs the command from this folder."""
    command = [sys.executable, "-S", "-m", "course_utils", "doctor", "--json"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV_")}
    done = subprocess.run(command, cwd=doctor.ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == NAMES
    assert {name for name, row in rows.items() if row["state"] == "fail"} == {"torch", "device", "Lab and kernel"}
    assert "make lab" in rows["torch"]["fix"]


def test_a_torch_that_does_not_load_is_told_from_one_that_is_missing(monkeypatch):
    def broken(name):
        raise ImportError("libcudnn.so.9: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    row = doctor.check_torch()
    assert row.state == "fail"
    assert "does not load: libcudnn.so.9" in row.seen


@pytest.mark.parametrize(("version", "state"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fail")])
def test_python(monkeypatch, version, state):
    monkeypatch.setattr(doctor.sys, "version_info", (*version, 0))
    assert doctor.check_python().state == state


def compiler(folder, script):
    program = folder / "g++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "state", "seen"),
    [
        ("exit 0", "ok", "builds programs that include Python.h"),
        ("echo no headers >&2; exit 1", "warn", "does not build a program: no headers"),
        ("if grep -q Python.h $1; then echo no Python.h >&2; exit 1; fi", "warn", "works, Python.h is missing"),
        (None, "warn", "no C++ compiler found"),
    ],
)
def test_compiler(monkeypatch, tmp_path, script, state, seen):
    grep = Path("/bin/grep") if Path("/bin/grep").exists() else Path("/usr/bin/grep")
    (tmp_path / "grep").symlink_to(grep)
    if script:
        compiler(tmp_path, script)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    row = doctor.check_compiler()
    assert (row.state, seen in row.seen) == (state, True), row


def rigged_torch(threads=2, cuda=False):
    return SimpleNamespace(
        __version__="9.9",
        get_num_threads=lambda: threads,
        cuda=SimpleNamespace(is_available=lambda: cuda),
        version=SimpleNamespace(cuda=None, hip=None),
    )


@pytest.mark.parametrize(
    ("granted", "threads", "state"), [(2, 2, "ok"), (2, 1, "ok"), (8, 4, "ok"), (2, 48, "warn"), (8, 1, "warn")]
)
def test_threads(monkeypatch, granted, threads, state):
    monkeypatch.setattr(doctor, "_torch", lambda: rigged_torch(threads))
    monkeypatch.setattr("course_utils.measure.cores.cores_granted", lambda: granted)
    row = doctor.check_threads()
    assert row.state == state
    assert row.fix == ("" if state == "ok" else f"export OMP_NUM_THREADS={granted}")


@pytest.mark.parametrize(("driver", "state"), [(None, "ok"), ("/usr/bin/nvidia-smi", "warn")])
def test_a_gpu_that_torch_cannot_use_is_said(monkeypatch, driver, state):
    monkeypatch.setattr(doctor, "_torch", rigged_torch)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    assert doctor.check_device().state == state


@pytest.mark.parametrize(
    ("caps", "state"), [([], "ok"), (["max", str(3 * 2**30)], "warn"), ([str(2**30), "max"], "fail")]
)
def test_memory_is_what_the_control_group_grants(monkeypatch, caps, state):
    monkeypatch.setattr(doctor, "_control_group", lambda file: caps)
    monkeypatch.setattr(doctor.os, "sysconf", {"SC_PHYS_PAGES": 4 * 2**20, "SC_PAGE_SIZE": 4096}.__getitem__)  # 16 GiB
    assert doctor.check_memory().state == state


@pytest.mark.parametrize(("free_gb", "state"), [(50, "ok"), (1, "warn"), (0.1, "fail")])
def test_disk(monkeypatch, free_gb, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(free_gb * 10**9)))
    assert doctor.check_disk().state == state


def test_data_that_is_damaged_missing_or_named_wrongly(monkeypatch, tmp_path):
    monkeypatch.setattr("course_utils.diffusion.data._REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert doctor.check_data().state == "warn"

    (tmp_path / "cifar10.npz").write_bytes(b"PK\x03\x04 cut short")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    damaged = doctor.check_data()
    assert damaged.state == "fail"
    assert "cifar10.npz is not a whole CIFAR-10" in damaged.seen

    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    assert "does not exist" in doctor.check_data().seen


def ship(folder, *names):
    for name in names:
        (folder / name).write_bytes(name.encode())
    sums = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_weights(monkeypatch, tmp_path):
    monkeypatch.setattr("course_utils.shipped.SHIPPED", tmp_path)
    assert doctor.check_weights().state == "warn"
    ship(tmp_path, "heldout.safetensors")
    assert doctor.check_weights().state == "warn"
    ship(tmp_path, "base.safetensors", "heldout.safetensors")
    assert doctor.check_weights() == doctor.Row("weights", "ok", f"2 files in {tmp_path}, 0 MB, verified")


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda path: path.write_bytes(b"bent"), "heldout.safetensors is damaged: its SHA-256 begins with"),
        (lambda path: path.unlink(), "heldout.safetensors is missing, though SHA256SUMS lists it"),
    ],
)
def test_weights_that_are_damaged_or_missing_fail_with_their_fix(monkeypatch, tmp_path, damage, seen):
    monkeypatch.setattr("course_utils.shipped.SHIPPED", tmp_path)
    ship(tmp_path, "base.safetensors", "heldout.safetensors")
    damage(tmp_path / "heldout.safetensors")
    row = doctor.check_weights()
    assert (row.state, row.fix) == (
        "fail",
        "`git checkout -- data/heldout.safetensors`, or unpack it again from the course's archive",
    )
    assert seen in row.seen
    assert row.seen[-1] not in ":; "


@pytest.mark.parametrize(
    ("program", "state"), [(sys.executable, "ok"), ("python", "ok"), ("/other/bin/python", "warn")]
)
def test_the_kernel_must_run_this_python(monkeypatch, tmp_path, program, state):
    from jupyter_client.kernelspec import KernelSpecManager

    (tmp_path / "python3").mkdir()
    spec = {"argv": [program, "-m", "ipykernel_launcher"], "display_name": "x", "language": "python"}
    (tmp_path / "python3/kernel.json").write_text(json.dumps(spec))
    monkeypatch.setattr(KernelSpecManager, "kernel_dirs", [str(tmp_path)])
    assert doctor.check_lab().state == state
