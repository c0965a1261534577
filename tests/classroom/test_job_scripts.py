"""The linter of job scripts: every rule finds its fault on its line, and is silent about the mend."""

import subprocess
import sys

import pytest

from course_utils.classroom.job_scripts import RULES, findings
from course_utils.classroom.job_scripts.__main__ import main
from course_utils.classroom.job_scripts.reading import read_script

TOP = "#!/bin/bash\n"
STOPS = "#SBATCH --requeue\n#SBATCH --signal=B:USR1@60\ntrap 'touch STOP; scontrol requeue 1' USR1\n"

# rule, the line at fault, what is faulty, what is not
CASES = [
    ("no-shebang", 1, "echo\n", TOP + "echo\n"),
    ("no-shebang", 1, "", TOP),
    ("line-ends", 2, TOP + "echo\r\n", TOP + "echo\n"),
    ("not-a-directive", 2, TOP + "# SBATCH --time=1\n", TOP + "#SBATCH --time=1\n"),
    ("not-a-directive", 2, TOP + "  #SBATCH --time=1\n", TOP + "##SBATCH --time=1\n"),
    ("not-a-directive", 2, TOP + "#Sbatch -t 1\n", TOP + "# SBATCH lines come first\n"),
    ("late-directive", 3, TOP + "set -e\n#SBATCH --time=1\n", TOP + "\n# words\n#SBATCH --time=1\nset -e\n"),
    ("literal-variable", 2, TOP + "#SBATCH --output=$HOME/%j\n", TOP + "#SBATCH --output=%u-%x-%j\n"),
    ("literal-variable", 2, TOP + "#SBATCH -o ~/x\n", TOP + "#SBATCH -o x~\n"),
    ("literal-variable", 2, TOP + "#SBATCH --time=1 --job-name=`date`\n", TOP + "#SBATCH --time=1 --job-name=date\n"),
    ("missing-folder", 2, TOP + "#SBATCH --output=logs/%j\n", TOP + "#SBATCH --output=%j\n"),
    ("missing-folder", 2, TOP + "#SBATCH -e /scratch/me/%j\n", TOP + "#SBATCH -e /dev/null\n"),
    ("typed-gpus-per-task", 2, TOP + "#SBATCH --gpus-per-task=a100:1\n", TOP + "#SBATCH --gpus-per-task=1\n"),
    ("typed-gpus-per-task", 2, TOP + "srun --gpus-per-task=a100:1 x\n", TOP + "srun --gres=gpu:a100:1 x\n"),
    ("signal-without-B", 2, TOP + "#SBATCH --signal=USR1\npython x\n", TOP + "#SBATCH --signal=USR1\nsrun x\n"),
    ("signal-without-B", 3, TOP + STOPS.replace("B:", ""), TOP + STOPS),
    ("signal-without-trap", 2, TOP + "#SBATCH --signal=B:TERM\n", TOP + "#SBATCH --signal=B:TERM\ntrap x SIGTERM\n"),
    ("signal-without-trap", 3, TOP + STOPS.replace("' USR1", "' EXIT"), TOP + "#SBATCH --signal=B:USR1@9\n. lib.sh\n"),
    ("foreground-srun", 5, TOP + STOPS + "srun x\n", TOP + STOPS + "srun x &\nwait $!\n"),
    ("foreground-srun", 5, TOP + STOPS + "srun \\\n  x\n", TOP + STOPS + "srun \\\n  x &\nwait $!\n"),
    ("foreground-srun", 5, TOP + STOPS + "A=1 exec python x.py\n", TOP + STOPS + "python -c 'print(1)'\n"),
    ("foreground-srun", 5, TOP + STOPS + "srun x >log 2>&1\n", TOP + STOPS + "srun x >log 2>&1 & pid=$!\nwait $pid\n"),
    ("foreground-srun", 5, TOP + STOPS + "srun sh -c 'a & b'\n", TOP + STOPS + "srun sh -c 'a & b' &\nwait $!\n"),
    ("foreground-srun", 5, TOP + STOPS + "srun x && exit\n", TOP + "srun x\n" + STOPS.split("\n")[2] + "\n"),
    ("no-requeue", 2, TOP + "#SBATCH --signal=B:USR1@9\ntrap x USR1\n", TOP + STOPS),
    ("no-requeue", 3, TOP + STOPS.replace("--requeue\n", "--no-requeue\n"), TOP + "trap x USR1\n"),
    ("swallowed-exit", 3, TOP + "srun x\necho done\n", TOP + "set -e\nsrun x\necho done\n"),
    ("swallowed-exit", 5, TOP + "set -e\nsrun x &\nwait\necho done\n", TOP + "srun x &\nwait $!\n"),
    ("swallowed-exit", 2, TOP + "srun x || true\n", TOP + "srun x || exit\n"),
    ("swallowed-exit", 2, TOP + "srun x | tee log\n", TOP + "set -o pipefail\nsrun x | tee log\n"),
    ("swallowed-exit", 4, TOP + "python x\nstatus=$?\nexit 0\n", TOP + "python x\nstatus=$?\nexit $status\n"),
    ("spool-path", 2, TOP + 'cd "$(dirname "$0")"\n', TOP + "awk '{ print $0 }' x\n"),
    ("spool-path", 2, TOP + 'here=${BASH_SOURCE[0]}\n', TOP + 'cd "$SLURM_SUBMIT_DIR"\n'),
    ("conda-nounset", 3, TOP + "set -euo pipefail\nconda activate x\n", TOP + "set -u\nset +u\nconda activate x\n"),
    ("conda-nounset", 3, TOP + "set -o nounset\nsource ~/x/bin/activate\n", TOP + "set -e\nsource ~/x/bin/activate\n"),
    ("conda-nounset", 2, "#!/bin/bash -u\nsource /ext3/env.sh\n", TOP + "source /ext3/env.sh\n"),
    ("srun-drops-cpus", 3, TOP + "#SBATCH -c 4\nsrun x\n", TOP + "#SBATCH -c 4\nsrun -n 2 -c 4 x\n"),
    ("srun-drops-cpus", 3, TOP + "#SBATCH -c 4\nsrun bash -c 'x'\n", TOP + "#SBATCH -c 4\nsrun --cpus-per-task=4 x\n"),
    (
        "srun-drops-cpus",
        3,
        TOP + "#SBATCH --cpus-per-task=4\nsrun x\n",
        TOP + "#SBATCH --cpus-per-task=4\nexport SRUN_CPUS_PER_TASK=4\nsrun x\n",
    ),
]  # fmt: skip


def found(text):
    return {(finding.rule, finding.line) for finding in findings(text)}


@pytest.mark.parametrize(("rule", "line", "faulty", "mended"), CASES)
def test_a_rule_finds_its_fault_and_is_silent_about_the_mend(rule, line, faulty, mended):
    assert (rule, line) in found(faulty)
    assert rule not in {name for name, _ in found(mended)}


def test_every_rule_is_tried():
    assert {rule for rule, *_ in CASES} == set(RULES)


def test_a_finding_says_what_was_seen_why_it_bites_and_how_to_mend_it():
    (finding,) = findings(TOP + "#SBATCH --output=logs/%j.out\nhostname\n")
    assert (finding.line, finding.rule, finding.seen) == (2, "missing-folder", "--output=logs/%j.out")
    assert "no log" in finding.why
    assert "%x-%j.out" in finding.mend
    assert str(finding).startswith("2: missing-folder: --output=logs/%j.out\n    why:  ")


def test_findings_come_by_line():
    text = "#SBATCH --output=a/b\n# SBATCH --x\nsrun x\necho\n#SBATCH --late\n"
    assert [finding.line for finding in findings(text)] == sorted(line for _, line in found(text)) == [1, 1, 2, 4, 5]


def test_a_log_folder_that_exists_where_sbatch_is_typed_is_no_fault(tmp_path):
    text = TOP + "#SBATCH --output=logs/%j.out\n"
    assert findings(text, folder=tmp_path)
    (tmp_path / "logs").mkdir()
    assert not findings(text, folder=tmp_path)


def test_here_documents_and_comments_are_not_read_as_commands():
    text = TOP + "cat >x <<'END'\nsrun x\nconda activate y\n$0\nEND\n# srun y\n"
    assert [command.text for command in read_script(text).commands] == ["cat >x <<'END'"]


def test_options_are_read_as_sbatch_does():
    text = TOP + "#SBATCH -c4 -J name --time 1:00 --mem=1G # words\n#SBATCH --exclusive\n#SBATCH -o=x\n"
    given = [(one.option, one.value) for one in read_script(text).directives]
    expected = [("cpus-per-task", "4"), ("job-name", "name"), ("time", "1:00"), ("mem", "1G"), ("exclusive", "")]
    assert given == [*expected, ("output", "x")]


def test_a_script_that_is_not_finished_is_read_all_the_same():
    for text in ("", "#", TOP + "echo 'open\n", TOP + "srun \\", TOP + "cat <<END\nnever"):
        findings(text)


def test_the_command_line_says_where_and_ends_with_a_status(tmp_path, capsys):
    good, bad, none = (tmp_path / name for name in ("good.sh", "bad.sh", "none.sh"))
    good.write_text(TOP + "#SBATCH --time=1\nsrun x\n")
    bad.write_text(TOP + "#SBATCH --time=1\nsrun x\necho done\n")
    none.write_text(TOP + "cd $(dirname $0)\n")
    assert main([str(good), str(none)]) == 0
    assert capsys.readouterr().out == f"{good}: no finding\n{none}: no #SBATCH line, so no job script\n"
    assert main([str(good), str(bad)]) == 1
    assert f"{bad}:4: swallowed-exit: echo done" in capsys.readouterr().out
    assert main(["--rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)


def test_a_file_that_is_not_there_is_one_sentence():
    command = [sys.executable, "-m", "course_utils.classroom.job_scripts", "/nowhere.sh"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere.sh" in done.stderr
    assert "Traceback" not in done.stderr
