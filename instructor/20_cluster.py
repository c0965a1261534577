# %% [markdown] id="card" section="Card" kind="lesson"
# # A cluster, and a script that survives the night
#
# **The question:** `sbatch` takes the thirteen lines below without a word. How many of their faults cost you the night: 1, 4, 7?
#
# About 60 minutes. Afterwards you can
#
# - find and mend the faults that Slurm never mentions;
# - write a job that saves when it is asked to, comes back, and says truthfully how it ended;
# - read how much of a reservation was used, and ask for what starts soon.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# A *cluster* is many machines with one queue. You describe on a login node what you need (`#SBATCH` lines) and what to do (the rest), and Slurm runs it later, elsewhere, without you. Where a Slurm answers on this machine, this notebook sends it four jobs of a few seconds each; elsewhere you read what a real one said.

# %% id="setup"
import math

from course_utils.classroom import check, plot_use, predict
from course_utils.classroom.job_scripts import RULES, findings
from course_utils.classroom.transcripts import job_script, observed, read_sacct, recorded, slurm_version

print(slurm_version() or "No Slurm answers here: recorded transcripts stand in.", "\n")
night = job_script("night")
print(night)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# The script shall train on one A100 with eight cores and 32 GB. Before its twelve hours are over Slurm may tell it, and the training command saves and stops as soon as a file `STOP` lies in its folder. It then leaves a file `REQUEUE` there and ends with status 75: stopped, and able to go on.
#
# Read it line by line. **How many faults do you count?**

# %% id="guess" tags=["answer"] answer="20.guess" points=0
### BEGIN SOLUTION about 1 line, stub: faults = ...
faults = 5
### END SOLUTION
guess = predict("How many faults has the script of one night?", faults, unit="faults")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# First what such faults look like from outside. A job with a log in a folder that nobody made:

# %% id="folder"
print(observed("folder"))

# %% [markdown] id="echo-words"
# Failed at once, and no log to say why. The next one is worse: its program does not even exist, and it ends with a friendly line.

# %% id="echo"
print(observed("echo"))

# %% [markdown] id="linter-words"
# `COMPLETED`, exit code 0. A job's state is the status of its last command, and `echo` never fails. Nobody looks at a job that completed.
#
# Slurm will not tell you, so the kit has a *linter*, which knows the faults that we saw bite on a real Slurm. What does it find in `night`?

# %% id="linter"
found = findings(night)
for one in found:
    print(f"line {one.line:2}  {one.rule:17} {one.seen}")

# %% id="reveal-faults"
guess.reveal(len(found))

# %% id="rules"
rule = "foreground-srun"  # or any other of the list above
print(RULES[rule].why, "Mend:", RULES[rule].mend, sep="\n")

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# **Two readers.** Slurm reads the lines that begin with exactly `#SBATCH`, up to the first command, and knows no variables: `$HOME` stays four letters and a dollar. It has patterns of its own, `%x` for the job's name and `%j` for its number. Bash reads everything else, on the compute node, hours later.
#
# **A job that can be stopped.** Machines are taken back: a time limit ends, somebody with a higher claim comes, a node is repaired. With `--signal=B:USR1@180` Slurm tells the batch script 180 seconds ahead, and a `trap` says what bash does then. But bash runs a trap only *between* commands. While a program runs in the foreground, the trap waits for its end, which is when Slurm kills both.
#
# ![Two time lines: with srun in the foreground the trap never runs before the kill; with srun in the background the trap asks for a stop, the run saves, and the job goes back to the queue. Below, a plan of two nodes over time with a gap that only a short job fits into](figures/20_cluster.svg)
#
# So the work goes into the background, and bash waits for it with `wait`, which a signal may interrupt. Interrupted is not finished: after a signal, wait again.
#
# **A truthful end.** The script keeps the status of its work and ends with it. Only where the run left `REQUEUE` does it ask Slurm to queue the same job again; a crash stays a crash.
#
# **A queue is a plan.** Slurm reserves the next start of every large job, and fills the gaps until then with small ones (*backfill*). Which gap you fit into depends on what you *ask for*, not on what you use:
#
# $$\text{efficiency} = \frac{\text{used}}{\text{reserved}}, \qquad \text{reserved} = \text{cores} \times \text{elapsed time}$$

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# ### The head
#
# Write the `#SBATCH` lines of `night` so that Slurm reads all of them and finds a place for the log. Ask for the same job: name, 32G of memory, 12 hours, 8 cores, one A100, the signal 180 seconds ahead. One log file is enough. And allow Slurm to put the job back into the queue.


# %% id="head" tags=["answer"] answer="20.job_head" points=2
def job_head():
    """The head of the script as one text, from #!/usr/bin/env bash to the last #SBATCH line."""
    ### BEGIN SOLUTION about 10 lines
    return """\
#!/usr/bin/env bash
#SBATCH --job-name=night
#SBATCH --output=%x-%j.out
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
"""
    ### END SOLUTION


# %% id="head-hidden" tags=["hidden-check"] answer="20.job_head"
from course_utils.classroom.job_scripts.reading import read_script

told, left = read_script(job_head()), findings(job_head() + "\ntrue\n")
print(*(told.given(name).value for name in ("mem", "time", "cpus-per-task", "gres", "signal", "job-name")))
print(sorted({one.rule for one in left}), told.given("requeue") is not None, "%j" in told.given("output").value)
# expect: 32G 12:00:00 8 gpu:a100:1 B:USR1@180 night
# expect: ['no-requeue', 'signal-without-trap'] True True

# %% id="head-check" tags=["check"]
job_head = check.job_head(job_head)

# %% [markdown] id="head-hints"
# <details><summary>Hint 1</summary>Run the linter on your own text: `findings(job_head())`. What concerns the head stands there with its line.</details>
# <details><summary>Hint 2</summary>A blank after the hash makes a comment. A log beside the place where you type sbatch needs no folder, and Slurm's patterns make its name unique.</details>
# <details><summary>Hint 3</summary>Nine lines: the shell, eight options. Leave the error file out, and add the option that is called like what it allows: requeue.</details>

# %% [markdown] id="body-words"
# ### The body
#
# Now the commands. Train into `runs/night`; on USR1 put `STOP` there; wait until the work has really ended; back to the queue if it left `REQUEUE`; end as it ended. And give `srun` its cores: since Slurm 22.05 it takes them from `SRUN_CPUS_PER_TASK`, not from the head.
#
# The check runs your script in bash, with a stand-in for `srun` that succeeds, fails, or needs a moment to save.


# %% id="body" tags=["answer"] answer="20.job_body" points=3
def job_body():
    """The commands of the script as one text, below the head."""
    ### BEGIN SOLUTION about 10 lines
    return """\
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
told=1
trap 'told=1; touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night &
pid=$!
while [ $told = 1 ]; do told=0; wait $pid; status=$?; done
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""
    ### END SOLUTION


# %% id="body-hidden" tags=["hidden-check"] answer="20.job_body"
from course_utils.classroom.checks.stand_ins import SAVES_WHEN_ASKED, run_script

whole = "#!/usr/bin/env bash\n" + job_body()
told = run_script(whole, SAVES_WHEN_ASKED, signal=True)
print([run_script(whole, work).status for work in ("exit 0", "exit 7")], told.stopped, told.saved, told.requeued)
# expect: [0, 7] True True requeue 42

# %% id="body-secret" tags=["hidden-check"] answer="20.job_body"
ended = run_script("#!/usr/bin/env bash\n" + job_body(), f"exit {2 + secret % 60}")
print(ended.started, ended.status, ended.cores, ended.stopped, ended.requeued == "")

# %% id="body-check" tags=["check"]
job_body = check.job_body(job_body)

# %% [markdown] id="body-hints"
# <details><summary>Hint 1</summary>`command &` starts it in the background, and `$!` is then its number. `wait NUMBER` returns its status, found in `$?`, or a number above 128 when a signal interrupted.</details>
# <details><summary>Hint 2</summary>Let the trap do two things: touch the file, and set a variable that says "a signal came". Wait in a loop for as long as the variable was set meanwhile.</details>
# <details><summary>Hint 3</summary>Order: cores, trap, srun in the background, its number, the loop around wait that keeps the status, the test for REQUEUE with `scontrol requeue` and the job's number, and last the status handed on.</details>

# %% [markdown] id="signal-words"
# On a real Slurm, with a signal after some seconds: first `srun` in the foreground, then the mended form. Compare the times in the logs.

# %% id="trap"
print(observed("trap"))

# %% id="mended"
print(observed("mended"))

# %% [markdown] id="efficiency-words"
# ### What was used
#
# `sacct` tells afterwards what Slurm saw of a job: `TotalCPU` is the work of all cores, `MaxRSS` the most memory in use. The GPU is not in there; the kit's scripts look at it every 15 seconds and write a share from 0 to 1 for each look.


# %% id="efficiency" tags=["answer"] answer="20.efficiency" points=1
def efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
    """Used shares of (cores, memory, GPU), 0 to 1; the GPU's is the mean of its looks, None without any."""
    ### BEGIN SOLUTION about 2 lines
    gpu = sum(looks) / len(looks) if looks else None
    return cpu_s / (elapsed_s * cores), peak_bytes / asked_bytes, gpu
    ### END SOLUTION


# %% id="efficiency-hidden" tags=["hidden-check"] answer="20.efficiency"
print(*(f"{float(share):.4f}" for share in efficiency(50.0, 4, 150.0, 8e9, 6e9, [0.2, 0.4, 0.9])))
print(efficiency(10.0, 2, 5.0, 1e9, 5e8, [])[2])
# expect: 0.7500 0.7500 0.5000
# expect: None

# %% id="efficiency-secret" tags=["hidden-check"] answer="20.efficiency"
made = efficiency(
    200.0 + secret % 90, 3 + secret % 6, 150.0, 9e9, (1 + secret % 7) * 1e9, [0.1, 0.5, secret % 10 / 10, 1]
)
print(*(f"{float(share):.4f}" for share in made))

# %% id="efficiency-check" tags=["check"]
efficiency = check.efficiency(efficiency)

# %% [markdown] id="efficiency-hints"
# <details><summary>Hint 1</summary>All shares are used ÷ reserved. What was reserved of the cores, in core-seconds?</details>
# <details><summary>Hint 2</summary>Eight cores for 100 s are 800 core-seconds, whether they work or not.</details>
# <details><summary>Hint 3</summary>Core-seconds of work over cores times elapsed time; peak over asked; sum over number of the looks, unless the list is empty.</details>

# %% [markdown] id="request-words"
# ### What to ask for
#
# A napkin before the next job: the time of start and steps with half as much again in reserve, rounded up to half hours; the peak of memory with a quarter in reserve, rounded up to whole GiB. (A job that saves and comes back may ask for less than the whole run, and simply takes several starts.)


# %% id="request" tags=["answer"] answer="20.request" points=1
def request(steps, step_s, start_s, peak_gib):
    """What to ask for: (hours in halves, whole GiB) for so many steps of step_s after start_s of preparation."""
    ### BEGIN SOLUTION about 2 lines, stub: hours = gib = ...
    hours = math.ceil(1.5 * (start_s + steps * step_s) / 1800) / 2
    gib = math.ceil(1.25 * peak_gib)
    ### END SOLUTION
    return hours, gib


# %% id="request-hidden" tags=["hidden-check"] answer="20.request"
for made in (request(5_000, 0.2, 100.0, 5.0), request(40_000, 0.25, 300.0, 17.0)):
    print(f"{float(made[0]):.1f} h, {round(float(made[1]))} GiB")
# expect: 0.5 h, 7 GiB
# expect: 4.5 h, 22 GiB

# %% id="request-secret" tags=["hidden-check"] answer="20.request"
for made in (request(1_000 * (7 + secret % 40), 0.2, 1300.0, 2.1 + secret % 9), request(90, 2.0, 30.0, 4.0)):
    print(f"{float(made[0]):.1f} h, {float(made[1]):.1f} GiB")

# %% id="request-check" tags=["check"]
request = check.request(request)

# %% [markdown] id="request-hints"
# <details><summary>Hint 1</summary>Add up the seconds first, then the reserve, then count half hours.</details>
# <details><summary>Hint 2</summary>A half hour has 1,800 s; `math.ceil` rounds up to a whole number.</details>
# <details><summary>Hint 3</summary>Round up 1.5 times all seconds over 1800 and halve it. For memory round up 1.25 times the peak.</details>

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# The whole script, before and after:

# %% id="mended-script"
script = job_head() + "\n" + job_body()
print(f"{len(findings(night))} findings before, {len(findings(script))} after")

# %% [markdown] id="used-words"
# A real job, accounted by Slurm. It asks generously, and then one thread works for twenty seconds on a gigabyte.

# %% id="used"
print(recorded("efficiency"))
job = read_sacct(recorded("efficiency"))
cores, memory, _ = efficiency(job.elapsed_s, job.cores, job.cpu_s, job.asked_bytes, job.peak_bytes, [])
plot_use({"cores": cores, "memory": memory, "time": job.elapsed_s / job.limit_s})

# %% [markdown] id="looks-words"
# Nearly all of it was empty, and nobody else could have it. Clusters answer: NYU Torch cancels jobs whose GPU is busy for less than about half of the time. Twelve looks, *made up* for this lesson (no GPU was measured): would this job live? What if the first minute, in which the data loads, were shorter?

# %% id="looks"
made_up = [0.0, 0.0, 0.0, 0.0, 0.82, 0.79, 0.85, 0.31, 0.80, 0.84, 0.28, 0.83]
for looks in (made_up, made_up[4:]):
    print(f"{efficiency(1, 1, 1, 1, 1, looks)[2]:.0%} busy over {len(looks)} looks")

# %% [markdown] id="queue-words"
# And the price of asking for too much. On a cluster of two nodes, one is busy for two hours, and a large job that needs both waits for it. Two more jobs come, alike but for the time they ask for:

# %% id="queue"
print(recorded("queue"))
hours, gib = request(20_000, 0.15, 120, 5.5)
print(f"20,000 steps of 0.15 s at 5.5 GiB: ask for {hours} hours and {gib} GiB")

# %% [markdown] id="why"
# The job of an hour and a half fits into the gap beside the busy node and starts at once. The same job with twelve hours on its label would delay the large one, so it waits behind it. Neither would have *used* twelve hours.
#
# The faults of the night have one thing in common: each is silent. Slurm checks what it can refuse, an unknown account, an impossible request. It cannot know that your trap never runs, or that your last line hides a crash. A linter knows the patterns; a rehearsal of two minutes with a real signal (`scancel --batch --signal=USR1 NUMBER`) knows the rest.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A job script is right when it ends truthfully, saves when asked, and comes back by itself. What you reserve decides when you start and what others wait for; what you use is measured afterwards, so look. Rehearse the end of a run before you need it.
#
# *Go further.* Read `slurm/train_a100.sh` and find each mended fault in it; its table "My job died" is in `slurm/README.md`. Then run `python -m course_utils.classroom.job_scripts` on a script of your own group.
