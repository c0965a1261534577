"""submit.sh without a Slurm: what it asks each site for, what it refuses, what it prints. sbatch is a stand-in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SITES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "slurm/sites").glob("*.env"))


@pytest.fixture
def submit(kit, program, tmp_path):
    """Runs submit.sh in the kit; -> (status, the words that sbatch got or the last line, what it complained of)."""
    folder = program("sbatch", f'printf "%s\\n" "$@" >"{tmp_path}/words"')
    program("scontrol", "exit 1")

    def run(*words, **variables):
        kept = {"PATH": f"{folder}:{os.environ['PATH']}", "USER": "me", "HOME": str(tmp_path), "COURSE_SCALE": "smoke"}
        done = subprocess.run(
            ["bash", "slurm/submit.sh", *words],
            cwd=kit,
            env={name: value for name, value in {**kept, **variables}.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
        )
        sent = (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []
        return done.returncode, sent, done.stdout + done.stderr

    return run


def test_the_four_sites_are_there():
    assert SITES == ["generic", "nyu-burst", "nyu-greene", "nyu-torch"]


@pytest.mark.parametrize(
    ("site", "gpu", "asked"),
    [
        ("generic", "a100:2", ["--gres=gpu:a100:2"]),
        ("generic", "h200", ["--gres=gpu:h200:1"]),
        ("nyu-greene", "rtx8000", ["--gres=gpu:rtx8000:1"]),
        ("nyu-torch", "h200:4", ["--comment=preemption=yes;requeue=true", "--gres=gpu:4", "--constraint=h200"]),
        ("nyu-burst", "a100", ["--requeue", "--gres=gpu:1", "--partition=c12m85-a100-1"]),
    ],
)
def test_each_site_is_asked_in_its_own_words(submit, site, gpu, asked):
    words = ["train_a100.sh", "--site", site, "--gpu", gpu, "--account=torch_pr_1_course", "--", "--num-steps", "4"]
    status, sent, said = submit(*words, USER="me")
    assert status == 0, said
    script = ["slurm/train_a100.sh", "--num-steps", "4"]
    assert [word for word in sent if word != "--account=torch_pr_1_course"] == [*asked, *script]
    assert "sbatch " in said


def test_a_type_alone_leaves_the_scripts_number_of_gpus(submit):
    assert "--gres=gpu:h200:2" in submit("train_multi_gpu", "--gpu", "h200")[1]
    assert "--gres=gpu:h200:4" in submit("train_multi_gpu", "--gpu", "h200:4")[1]
    assert not [word for word in submit("train_a100", "--gpus-per-node=a100:1")[1] if "gres" in word]


def test_a_site_that_wants_a_partition_gets_one_for_every_script_and_what_it_sends(submit, tmp_path):
    (tmp_path / "bin/sbatch").write_text(f'#!/bin/sh\necho "$SBATCH_PARTITION" >"{tmp_path}/words"\n')
    status, sent, said = submit("smoke.sh", "--site", "nyu-burst", "-A", "x")
    assert (status, sent) == (0, ["n1s8-t4-1"]), said
    assert "export SBATCH_PARTITION=n1s8-t4-1" in said


def test_what_slurm_refuses_comes_with_where_to_look(submit, tmp_path):
    (tmp_path / "bin/sbatch").write_text("#!/bin/sh\necho sbatch: error: no such account >&2; exit 1\n")
    for words in ([], ["--dry-run"]):
        status, _, said = submit("smoke.sh", "--site", "nyu-torch", "-A", "torch_pr_1_x", *words)
        assert status == 1
        assert "Slurm refused the job. Accounts: my_slurm_accounts lists yours" in said
        assert ("dry run: Slurm is only asked" in said) is bool(words)


def test_an_environment_that_is_still_being_built_is_said(submit, kit, tmp_path):
    own = kit / ".venv"
    target = own.readlink()
    own.unlink()
    try:
        (own / "bin").mkdir(parents=True)
        (own / "bin/python").symlink_to(sys.executable)
        (own / "install.log").touch()
        status, sent, said = submit("train_a100.sh")
        assert (status, sent) == (2, [])
        assert "is unfinished: wait until env-build is gone from" in said
        (own / "course-stamp.json").touch()
        assert submit("train_a100.sh")[0] == 0
    finally:
        shutil.rmtree(own)
        own.symlink_to(target)


def test_a_shell_without_a_users_name_will_do(submit):
    assert submit("train_a100.sh", "--site", "nyu-greene", "-A", "x", USER=None)[0] == 0


def test_the_scripts_own_gpu_is_asked_for_unless_the_words_say_it(submit):
    account = {"SBATCH_ACCOUNT": "torch_pr_1_course"}
    assert "--constraint=a100" in submit("train_a100", "--site=nyu-torch", **account)[1]
    sent = submit("train_a100", "--site=nyu-torch", "--constraint=l40s|h200", **account)[1]
    assert [word for word in sent if "constraint" in word] == ["--constraint=l40s|h200"]


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        (["train_a100.sh", "--site", "nyu-torch"], {}, "NYU Torch wants an account"),
        (["train_a100.sh", "--site", "nyu-torch"], {"SBATCH_ACCOUNT": "pr_1_general"}, "look like torch_pr_*"),
        (["train_a100.sh", "--site", "nyu-greene", "--gpu", "h200", "-A", "x"], {}, "NYU Greene has no h200"),
        (["train_a100.sh", "--gpu", "a100:none"], {}, "wanted a type, or a type and how many"),
        (["train_a100.sh", "--site", "nowhere"], {}, "There is no site nowhere: take one of generic"),
        (["lib.sh"], {}, "lib.sh is no job script"),
        (["train_a1000.sh"], {}, "There is no job script train_a1000.sh: take one of bench_gpus.sh"),
        (["train_a100.sh", "--time", "1:00:00"], {}, "sbatch options are written --name=value"),
        (["train_a100.sh"], {"COURSE_OVERLAY": "/nowhere.ext3"}, "The overlay /nowhere.ext3 is missing"),
        (["train_a100.sh"], {"COURSE_VENV": "/nowhere"}, "There is no environment in /nowhere"),
        (["train_a100.sh"], {"COURSE_SCALE": "gpu", "COURSE_DATA": "/nowhere"}, "No CIFAR-10 in /nowhere"),
        (["train_a100.sh"], {"COURSE_RUNS": "/proc/none"}, "cannot be made: set COURSE_RUNS"),
    ],
)
def test_what_a_job_would_fail_of_is_said_before_it_waits(submit, words, variables, sentence):
    status, sent, said = submit(*words, **variables)
    assert (status, sent) == (2, []), said
    assert sentence in said


def test_a_missing_weight_of_the_kit_is_said(submit, tmp_path):
    (tmp_path / "cifar10.npz").touch()
    status, sent, said = submit("train_a100.sh", COURSE_SCALE="gpu", COURSE_DATA=str(tmp_path))
    assert (status, sent) == (2, [])
    assert "git checkout -- data/base.safetensors" in said


def test_an_overlay_takes_the_newest_image_of_the_site(submit, kit, tmp_path):
    for version in ("12.9.1", "13.3.1", "13.10.0"):
        (tmp_path / f"cuda-{version}.sif").touch()
    site = kit / "slurm/sites/here.env"
    site.write_text(
        f'. "$KIT/slurm/sites/generic.env"\nSITE_IMAGE="{tmp_path}/cuda-*.sif"\nSITE_OVERLAY="{tmp_path}/o.ext3"\n'
    )
    try:
        (tmp_path / "o.ext3").touch()
        (tmp_path / "bin/sbatch").write_text(f'#!/bin/sh\necho "$COURSE_IMAGE $COURSE_OVERLAY" >"{tmp_path}/words"\n')
        sent = submit("train_a100.sh", "--site", "here", COURSE_OVERLAY=f"{tmp_path}/o.ext3")[1]
        assert sent == [f"{tmp_path}/cuda-13.10.0.sif {tmp_path}/o.ext3"]
    finally:
        site.unlink()


def test_a_dry_run_only_tests_and_without_slurm_only_prints(submit, kit, tmp_path):
    status, sent, said = submit("smoke", "--dry-run", "--time=00:01:00")
    assert (status, sent) == (0, ["--test-only", "--time=00:01:00", "slurm/smoke.sh"])
    assert "sbatch --time=00:01:00 slurm/smoke.sh" in said
    for name in ("bash", "sed", "grep", "basename", "realpath", "dirname", "mkdir", "paste"):
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / name).symlink_to(shutil.which(name))
    status, _, said = submit("smoke", "--dry-run", PATH=str(tmp_path / "few"))
    assert (status, said.splitlines()[-1]) == (0, "(no sbatch here: printed only)")
    status, _, said = submit("smoke", PATH=str(tmp_path / "few"))
    assert (status, "There is no sbatch here" in said) == (2, True)


def test_help_shows_how_it_is_typed(submit):
    status, sent, said = submit("--help")
    assert (status, sent) == (0, [])
    assert said.startswith("Check what a job will need")
    assert "#" not in said.split("\n")[2]
