# %% [markdown]
# # Planted answers of `20_cluster`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="20.job_head" case="blank-after-the-hash" points=0
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    return """\
#!/usr/bin/env bash
# SBATCH --job-name=night
#SBATCH --output=%x-%j.out
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
"""


# %% answer="20.job_head" case="requeue-forgotten" points=0
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    return """\
#!/usr/bin/env bash
#SBATCH --job-name=night
#SBATCH --output=%x-%j.out
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180
"""


# %% answer="20.job_head" case="shell-variable-in-the-log" points=0
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    return """\
#!/usr/bin/env bash
#SBATCH --job-name=night
#SBATCH --output=$HOME/night-$SLURM_JOB_ID.out
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
"""


# %% answer="20.job_head" case="twelve-minutes" points=0
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    return """\
#!/usr/bin/env bash
#SBATCH --job-name=night
#SBATCH --output=%x-%j.out
#SBATCH --mem=32G
#SBATCH --time=12:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
"""


# %% answer="20.job_head" case="joined-in-another-order" points=2
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    asked = {
        "requeue": None,
        "signal": "B:USR1@180",
        "gres": "gpu:a100:1",
        "cpus-per-task": 8,
        "time": "12:00:00",
        "mem": "32G",
        "output": "%j_%x.log",
        "job-name": "night",
    }
    options = [f"#SBATCH --{name}" + ("" if value is None else f"={value}") for name, value in asked.items()]
    return "\n".join(["#!/bin/bash", *options])


# %% answer="20.job_head" case="mended-by-replacing" points=2
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    head = "#!/usr/bin/env bash\n#SBATCH --job-name=night --mem=32G --time=12:00:00\n"
    head += "#SBATCH --cpus-per-task=8\n#SBATCH --gres=gpu:a100:1\n"
    return head + "#SBATCH --signal=B:USR1@180\n#SBATCH --output=%x-%j.out\n#SBATCH --requeue\n"


# %% answer="20.job_body" case="srun-in-the-foreground" points=0
def job_body():
    """The commands of the script as one text, below the head."""
    return """\
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
trap 'touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night
status=$?
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""


# %% answer="20.job_body" case="waited-once" points=0
def job_body():
    """The commands of the script as one text, below the head."""
    return """\
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
trap 'touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night &
wait $!
status=$?
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""


# %% answer="20.job_body" case="friendly-last-line" points=0
def job_body():
    """The commands of the script as one text, below the head."""
    return """\
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
told=1
trap 'told=1; touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night &
pid=$!
while [ $told = 1 ]; do told=0; wait $pid; status=$?; done
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
echo "all done"
"""


# %% answer="20.job_body" case="cores-not-passed-on" points=0
def job_body():
    """The commands of the script as one text, below the head."""
    return """\
told=1
trap 'told=1; touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night &
pid=$!
while [ $told = 1 ]; do told=0; wait $pid; status=$?; done
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""


# %% answer="20.job_body" case="asks-whether-it-lives" points=3
def job_body():
    """The commands of the script as one text, below the head."""
    return """\
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK}"
ask_to_stop() { touch runs/night/STOP; }
trap ask_to_stop USR1
srun python -m course_utils train --out runs/night &
work=$!
wait "$work"
status=$?
while kill -0 "$work" 2>/dev/null; do
  wait "$work"
  status=$?
done
[ -f runs/night/REQUEUE ] && scontrol requeue "$SLURM_JOB_ID"
exit "$status"
"""


# %% answer="20.job_body" case="until-no-signal" points=3
def job_body():
    """The commands of the script as one text, below the head."""
    lines = [
        "signalled=yes",
        "trap 'signalled=yes; touch runs/night/STOP' USR1",
        "export SRUN_CPUS_PER_TASK=8",
        "srun python -m course_utils train --out runs/night & pid=$!",
        'until [ "$signalled" = no ]; do signalled=no; wait "$pid"; status=$?; done',
        'test ! -e runs/night/REQUEUE || scontrol requeue "$SLURM_JOB_ID"',
        "exit $status",
    ]
    return "\n".join(lines) + "\n"


# %% answer="20.efficiency" case="in-per-cent" points=0
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    gpu = 100 * sum(looks) / len(looks) if looks else None
    return 100 * cpu_s / (elapsed_s * cores), 100 * peak_bytes / asked_bytes, gpu


# %% answer="20.efficiency" case="one-core-assumed" points=0
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    gpu = sum(looks) / len(looks) if looks else None
    return cpu_s / elapsed_s, peak_bytes / asked_bytes, gpu


# %% answer="20.efficiency" case="best-look" points=0
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    gpu = max(looks) if looks else None
    return cpu_s / (elapsed_s * cores), peak_bytes / asked_bytes, gpu


# %% answer="20.efficiency" case="no-looks-not-thought-of" points=0
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    return cpu_s / (elapsed_s * cores), peak_bytes / asked_bytes, sum(looks) / len(looks)


# %% answer="20.efficiency" case="no-looks-are-zero" points=0
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    gpu = sum(looks) / max(1, len(looks))
    return cpu_s / (elapsed_s * cores), peak_bytes / asked_bytes, gpu


# %% answer="20.efficiency" case="a-list-and-fsum" points=1
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    gpu = None
    if len(looks) > 0:
        gpu = math.fsum(looks) / len(looks)
    return [cpu_s / cores / elapsed_s, peak_bytes / asked_bytes, gpu]


# %% answer="20.efficiency" case="statistics" points=1
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    from statistics import fmean

    reserved_s = cores * elapsed_s
    return (cpu_s / reserved_s, peak_bytes / asked_bytes, fmean(looks) if looks else None)


# %% answer="20.request" case="rounded-to-the-nearest" points=0
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours = round(1.5 * (start_s + steps * step_s) / 1800) / 2
    gib = round(1.25 * peak_gib)
    return hours, gib


# %% answer="20.request" case="whole-hours" points=0
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours = math.ceil(1.5 * (start_s + steps * step_s) / 3600)
    gib = math.ceil(1.25 * peak_gib)
    return hours, gib


# %% answer="20.request" case="start-forgotten" points=0
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours = math.ceil(1.5 * steps * step_s / 1800) / 2
    gib = math.ceil(1.25 * peak_gib)
    return hours, gib


# %% answer="20.request" case="no-reserve" points=0
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours = math.ceil((start_s + steps * step_s) / 1800) / 2
    gib = math.ceil(peak_gib)
    return hours, gib


# %% answer="20.request" case="memory-not-rounded" points=0
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours = math.ceil(1.5 * (start_s + steps * step_s) / 1800) / 2
    gib = 1.25 * peak_gib
    return hours, gib


# %% answer="20.request" case="half-hours-as-steps" points=1
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    seconds = (start_s + steps * step_s) * 3 / 2
    hours = 0.5 * -(-seconds // 1800)
    gib = float(-(-peak_gib * 5 // 4))
    return hours, gib


# %% answer="20.request" case="counting-up" points=1
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    hours, gib = 0.5, 1
    while 3600 * hours < 1.5 * (start_s + steps * step_s):
        hours += 0.5
    while gib < peak_gib + peak_gib / 4:
        gib += 1
    return hours, gib
