# shellcheck shell=bash
# What a job says of itself: where its numbers come from, at the top of the log; how well it used the machine, at the end.

MAX_RESTARTS=${COURSE_MAX_RESTARTS:-20}

print_header() {
  local line
  printf '== %s, job %s, start %s of at most %s, %s\n' "$SLURM_JOB_NAME" "$JOB" \
    "$((${SLURM_RESTART_COUNT:-0} + 1))" "$((MAX_RESTARTS + 1))" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  line="${SLURM_JOB_NODELIST:-$(hostname -s)}: ${SLURM_NNODES:-1} node(s), $CORES cores a task, $OMP_NUM_THREADS threads a process"
  printf '%-12s %s\n' commit "$(commit)" node "$line" GPU "$(gpu_line)" environment "$ENVIRONMENT" versions "$VERSIONS" \
    run "$RUN_DIR" scratch "$SLURM_TMPDIR" options "${OPTIONS[*]}"
}

# The commit, and whether files differ from it; `unknown` outside a clone.
commit() {
  local found changed
  found=$(git -C "$KIT" rev-parse --short HEAD 2>/dev/null) || { printf 'unknown: not a git clone of this user' && return; }
  changed=$(git -C "$KIT" status --porcelain --untracked-files=no 2>/dev/null | wc -l)
  printf '%s' "$found"
  [ "$changed" -eq 0 ] || printf ', and %s changed file(s)' "$changed"
}

gpu_line() {
  local driver
  if [ -n "$GPUS" ]; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
    printf '%s (asked: %s%s)' "$GPUS" "$ASKED" "${driver:+; driver $driver}"
  elif [ -z "$ASKED" ]; then
    printf 'none asked for'
  else
    printf 'none: no driver on this node, so this run is of SMOKE scale on the CPU and says nothing of %s' "${ASKED/#any/a GPU}"
  fi
}

print_footer() {
  printf '== end of job %s: status %s after %s s\n' "$JOB" "$1" "$SECONDS"
  printf '%-12s %s\n' memory "$(host_memory)"
  [ -z "$ASKED" ] || printf '%-12s %s\n' 'GPU use' "$(gpu_use)" speed "$(last_speed)"
}

# Mean use, peak memory, mean power and energy over the looks at the GPUs; energy is power times the job's time.
gpu_use() {
  if [ ! -s "${GPU_LOG:-}" ]; then
    printf 'not readable (no nvidia-smi on this node, or the job was shorter than a look)'
    return
  fi
  awk -F', *' -v seconds="$SECONDS" -v gpus="$(seen_gpus | grep -c .)" '
    { use += $1; if ($2 + 0 > peak) peak = $2 + 0; if ($3 + 0 > 0) { power += $3; powered++ } }
    END {
      printf "%.0f %% busy on average, peak %.1f GiB a GPU", use / NR, peak / 1024
      if (powered) printf ", %.0f W, %.3f kWh on this node", power / powered, power / powered * gpus * seconds / 3.6e6
      printf " (%d looks)", NR
      if (use / NR < 70) printf ". BELOW 70 %%: see the cancel rule in slurm/README.md"
    }' "$GPU_LOG"
}

# The peak of the job's control group, which is what an out-of-memory kill is decided by.
host_memory() {
  local group peak
  group=$(sed -n 's/^0:://p' /proc/self/cgroup 2>/dev/null || true)
  group=/sys/fs/cgroup${group%%/step_*}
  if [[ $group == *job_* ]] && peak=$(cat "$group/memory.peak" 2>/dev/null); then
    printf 'peak %s MiB of the node' "$((peak / 1048576))"
  else
    printf 'not readable (no control group for this job); where there is accounting: sacct -j %s -o MaxRSS' "$JOB"
  fi
}

# How many starts the training log tells of.
logged_starts() {
  local count=0
  [ ! -f "$RUN_DIR/log.jsonl" ] || count=$(grep -c '"event": "start"' "$RUN_DIR/log.jsonl" || true)
  printf '%s' "$count"
}

# What the training log says last of this start. (Lines cannot be counted: a start removes those of steps that were lost.)
last_speed() {
  local speed=''
  [ ! -f "$RUN_DIR/log.jsonl" ] || speed=$(awk -v before="$STARTS" '
    /"event": "start"/ { starts++; speed = "" }
    starts > before && match($0, /"img_per_s": [0-9.]+/) { speed = substr($0, RSTART + 13, RLENGTH - 13) }
    END { print speed }' "$RUN_DIR/log.jsonl")
  printf '%s' "${speed:+$speed img/s, the last reading of log.jsonl}"
  [ -n "$speed" ] || printf 'no reading: this start logged no step'
}
