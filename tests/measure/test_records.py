"""Records survive writers that die, name what is broken, and refuse unlike company."""

import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from course_utils.measure import Record, incompatible, load, manifest, record, same_under_two_names, utilization
from course_utils.measure.manifests import _commit, _without_path

HERE = {
    "method_version": 1,
    "device": {"name": "A100", "type": "cuda"},
    "cores_granted": 8,
    "batch": 16,
    "step": "forward and backward",
    "dtype": "float32",
    "devices": 1,
    "busy": [0.9],
    "marks": [],
    "workers": 4,
    "commit": "abc",
}


def made(name="fp32", value=1.0, **changes):
    config = changes.pop("config", {"amp": False})
    return record("training step", name, config, value, "s", manifest={**HERE, **changes})


def test_a_record_survives_the_disk(tmp_path):
    path = tmp_path / "new folder" / "results.jsonl"
    first = record("forward", "fp32", {"batch": 4}, 0.5, "s", low=0.4, high=0.6, n=21, path=path)
    second = record("forward", "bf16", {"batch": 4, "ä": [1, None]}, 0.25, "s", path=path, manifest={})
    assert load(path) == [first, second]
    assert len(path.read_text().splitlines()) == 2
    assert json.loads(path.read_text().splitlines()[0])["manifest"]["versions"]["torch"]


def write_many(path, name):
    for i in range(40):
        record("forward", name, {"pad": "x" * 5000}, i, "s", path=path, manifest={})


def test_writers_at_the_same_time_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_many, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = load(path)
    assert len(records) == 120
    assert all([r.value for r in records if r.name == name] == list(range(40)) for name in "abc")


def test_half_a_line_of_a_killed_writer_is_skipped_then_removed(tmp_path):
    path = tmp_path / "r.jsonl"
    good = made()
    record(good.kind, good.name, good.config, 1.0, "s", path=path, manifest=HERE)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"r\.jsonl:2: skipped half a record"):
        assert load(path) == [good]
    record(good.kind, "next", good.config, 2.0, "s", path=path, manifest=HERE)
    assert [r.name for r in load(path)] == ["fp32", "next"]


def test_a_missing_last_newline_costs_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    record("k", "a", {}, 1.0, "s", path=path, manifest={})
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [r.name for r in load(path)] == ["a"]
    record("k", "b", {}, 1.0, "s", path=path, manifest={})
    assert [r.name for r in load(path)] == ["a", "b"]


@pytest.mark.parametrize("broken", ["{not json", '{"kind": "k"}', "[1, 2]"])
def test_a_broken_line_is_named_by_file_and_number(tmp_path, broken):
    path = tmp_path / "r.jsonl"
    record("k", "a", {}, 1.0, "s", path=path, manifest={})
    path.write_text(path.read_text() + broken + "\n" + path.read_text())
    with pytest.raises(ValueError, match=r"r\.jsonl:2: this line is not a record"):
        load(path)


def test_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no records at .*none\.jsonl"):
        load(tmp_path / "none.jsonl")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path, value):
    path = tmp_path / "r.jsonl"
    with pytest.raises(ValueError, match="record 'x' cannot be written as JSON"):
        record("k", "x", {}, value, "s", path=path, manifest={})
    with pytest.raises(ValueError, match="record 'x' cannot be written as JSON"):
        record("k", "x", {"model": object()}, 1.0, "s", path=path, manifest={})
    assert not path.exists()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "r.jsonl"
    record("k", "a", {}, 1.0, "s", path=path, manifest={})
    before = path.read_bytes()
    program = f"""
import resource, signal
from course_utils.measure import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 100}, {len(before) + 100}))
record("k", "long", {{"pad": "x" * 1000}}, 1.0, "s", path={str(path)!r}, manifest={{}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is the disk full?" in done.stderr
    assert path.read_bytes() == before


def test_like_records_may_be_compared_whatever_the_treatment():
    assert incompatible(made(), made("bf16", dtype="bfloat16")) == []
    assert incompatible(made(), made("2 GPUs", devices=2, busy=[0.9, 0.8])) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": {"name": "V100"}}, "other device: 'A100' and 'V100'"),
        ({"batch": 128}, "other batch: 16 and 128"),
        ({"batch": None, "config": {"batch": 32}}, "other batch: 16 and 32"),
        ({"step": "forward"}, "other step definition"),
        ({"method_version": 2}, "other method version: 1 and 2"),
        ({"marks": ["torch.profiler"]}, "bf16: measured under torch.profiler"),
        ({"workers": 48}, "bf16: 48 workers on 8 granted cores"),
        ({"devices": 2, "busy": [0.9, 0.01]}, "bf16: 2 devices requested, 1 busy"),
        ({"devices": 2, "busy": [0.9]}, "bf16: 2 devices requested, 1 busy"),
    ],
)
def test_unlike_records_are_told_apart(changes, reason):
    (found,) = incompatible(made(), made("bf16", **changes))
    assert found.startswith(reason)


def test_other_kinds_and_units_are_unlike():
    assert [r.split(":")[0] for r in incompatible(made(), replace(made(), kind="forward", unit="img/s"))] == [
        "other kind",
        "other unit",
    ]


def test_one_configuration_under_two_names_is_flagged():
    amp, plain = {"amp": True, "gpus": 2}, {"amp": False, "gpus": 1}
    records = [
        made("AMP, 2 GPUs", 572, config=amp, dtype="float16"),
        made("no AMP, 2 GPUs", 559, config=amp, dtype="float16"),
        made("AMP, 2 GPUs", 570, config=amp, dtype="float16"),
        made("no AMP, 1 GPU", 428, config=plain),
    ]
    (sentence,) = {s for s in same_under_two_names(records) if s.startswith("'AMP")}
    assert sentence.startswith("'AMP, 2 GPUs' and 'no AMP, 2 GPUs' are one configuration")
    assert same_under_two_names([records[0], records[2], records[3]]) == []
    assert same_under_two_names([records[0], made("fp32", config=amp, dtype="float32")]) == []


def test_a_record_prints_itself():
    text = str(record("sampling", "ddim", {}, 1.7, "x", low=1.6, high=1.8, n=21, manifest=HERE))
    assert "1.70x (1.60x–1.80x)" in text
    assert "A100" in text
    assert "41.2 ms" in str(Record("forward", "a", {}, 0.0412, "s"))
    assert "1.20 kimg/s" in str(Record("forward", "a", {}, 1200, "img/s"))


def test_manifest_is_plain_json_and_names_no_folder(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["/home/me/kit/bench.py", "--data=/scratch/me/cifar10.npz", "-n", "64", "a/b.json"]
    )
    with utilization() as used:
        pass
    told = manifest(seed=0, batch=16, dtype="float32", step="forward", devices=1, busy=used.gpu_busy)
    assert json.loads(json.dumps(told)) == told
    assert told["argv"] == ["bench.py", "--data=cifar10.npz", "-n", "64", "b.json"]
    assert told["cores_granted"] >= 1
    assert told["device"]["name"]
    assert told["method_version"] == 1
    assert os.sep not in told["device"]["name"]


@pytest.mark.parametrize(
    ("argument", "kept"), [("/a/b/c.py", "c.py"), ("--out=/x/y/", "--out=y"), ("lr=3e-4", "lr=3e-4"), ("-n", "-n")]
)
def test_folders_are_cut_off_arguments(argument, kept):
    assert _without_path(argument) == kept


def test_marks_name_a_profiler_that_is_on():
    import torch

    with torch.autograd.profiler.profile(use_kineto=False):
        assert "torch.profiler" in manifest()["marks"]


def test_a_run_on_the_cpu_says_so_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr("course_utils.measure.manifests._device", lambda device: {"name": "a GPU", "type": "cuda"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert manifest()["device"]["type"] == manifest(device="cuda:1")["device"]["type"] == "cuda"
    told = manifest(device="cpu")
    assert told["device"]["type"] == "cpu"
    assert told["fp32_precision"] is None
    assert set(manifest()["fp32_precision"]) == {"conv", "matmul"}


def test_the_commit_is_the_kits_own(tmp_path):
    def git(*words):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", "-C", str(tmp_path), *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert _commit(tmp_path) == {"commit": None, "dirty": None}
    git("init", "-q")
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/a.py").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "somebody's own work")
    name = git("rev-parse", "--short=12", "HEAD")
    assert _commit(tmp_path) == {"commit": name, "dirty": False}
    assert _commit(tmp_path / "kit") == {"commit": None, "dirty": None}
    (tmp_path / "kit/RELEASE.json").write_text('{"commit": "0123456789abcdef", "released": "2026-09-01"}')
    assert _commit(tmp_path / "kit") == {"commit": "0123456789ab", "dirty": None}
    (tmp_path / "kit/a.py").write_text("2")
    assert _commit(tmp_path) == {"commit": name, "dirty": True}
