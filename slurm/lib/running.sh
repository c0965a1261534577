# shellcheck shell=bash
# The work itself: started behind, stopped through a file, sent back to the queue after a checkpoint.

# supervise COMMAND...: run it behind and wait, so that traps run while it works (bash keeps them back as long as a
# program is in the foreground). STATUS becomes its exit status.
supervise() {
  local status
  STATUS=0
  rm -f "$RUN_DIR/REQUEUE"
  "$@" &
  CHILD=$!
  while :; do
    SIGNALLED=0
    status=0
    wait "$CHILD" || status=$?
    [ "$status" -eq 127 ] && [ "$STATUS" -ne 0 ] || STATUS=$status # 127: waited for already
    [ "$SIGNALLED" -ne 0 ] || break
  done
}

# on_signal NAME: Slurm asks for an end (USR1 before the time limit, TERM for a preemption or scancel). The file is
# renewed for as long as we live, since a command that is only just starting removes what an earlier one left.
on_signal() {
  SIGNALLED=1
  [ "$1" != USR1 ] || [ -n "${WARNED_AFTER:-}" ] || WARNED_AFTER=$SECONDS
  printf '%s received after %s s: asking the run to save and stop (%s)\n' "$1" "$SECONDS" "$RUN_DIR/STOP"
  touch "$RUN_DIR/STOP" 2>/dev/null || true
  if [ -n "${PASS_SIGNALS:-}" ]; then kill -s TERM "${CHILD:-0}" 2>/dev/null || true; fi
  if [ -z "${ASKING:-}" ]; then
    keep_asking &
    ASKING=$!
  fi
}

keep_asking() {
  trap - TERM USR1 EXIT
  while sleep 5; do touch "$RUN_DIR/STOP" 2>/dev/null || return 0; done
}

# The end of a job: after a clean stop back to the queue, else with the status of the work and nothing after it.
finish_job() {
  local helper
  if [ -e "$RUN_DIR/REQUEUE" ]; then STATUS=75; fi # torchrun ends with 1 whatever its ranks say
  for helper in "${ASKING:-}" "${WATCHER:-}"; do
    [ -z "$helper" ] || kill "$helper" 2>/dev/null || true
  done
  rm -f "$RUN_DIR/STOP"
  leave_tmpdir # now: a requeue kills this script
  print_footer "$STATUS" | tee -a "$RUN_DIR/provenance.txt" || true # the disk may be full
  if [ "$STATUS" -eq 75 ]; then requeue; fi
  exit "$STATUS"
}

# The job's time limit in seconds; a year where there is none, or it cannot be read.
time_limit_s() {
  scontrol -o show job "$JOB" 2>/dev/null | sed -n 's/.* TimeLimit=\([^ ]*\).*/\1/p' | awk -F '[-:]' '
    /^[0-9]+-[0-9]+:[0-9]+:[0-9]+$/ { seen = 1; print (($1 * 24 + $2) * 60 + $3) * 60 + $4 }
    /^[0-9]+:[0-9]+:[0-9]+$/ { seen = 1; print ($1 * 60 + $2) * 60 + $3 }
    END { if (!seen) print 31536000 }' | head -n 1
}

# Slurm requeues by itself only after a preemption or a dead node. A job that was cancelled stays cancelled.
requeue() {
  local state
  state=$(squeue -h -j "$JOB" -o %T 2>/dev/null || true)
  if [ "$state" != RUNNING ]; then
    echo "Saved. Slurm is ending this job (${state:-gone}): after a preemption it comes back by itself and goes on here; after scancel, send the same sbatch again."
  elif [ "${WARNED_AFTER:-999}" -lt 60 ] && [ "$(time_limit_s)" -lt 600 ]; then
    echo "Saved, and not sent back to the queue: the time limit is hardly longer than the warning before it (--signal=B:USR1@180), so each start would be asked to stop at once. Ask for --time=00:10:00 or more."
  elif [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
    echo "Saved, and not sent back to the queue: it was restarted ${SLURM_RESTART_COUNT:-0} times (COURSE_MAX_RESTARTS); sbatch again goes on."
  elif scontrol requeue "$JOB"; then
    echo "Saved and sent back to the queue; the next start goes on here."
    trap '' TERM USR1
    sleep 30 # Slurm ends this script now
  else
    echo "Saved, but Slurm does not requeue this job: type the same sbatch again to go on."
  fi
}
