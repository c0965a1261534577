# shellcheck shell=bash
# What all job scripts share. A script finds this file by SLURM_SUBMIT_DIR, because `$0` is a copy in Slurm's spool folder:
#
#   begin_job GPU [options of the command]   folders, environment, GPU check, header; stops the job with a sentence
#   supervise COMMAND...                     runs it behind, so that signals are answered; sets STATUS
#   finish_job                               footer; back to the queue after a clean stop; the true exit status
#
# A script that sources it sets KIT, the kit's folder, beforehand.

KIT=$(cd "$KIT" && pwd) || exit 2

# A mistake: one sentence on the standard error stream, and a status that never sends the job back to the queue.
stop_with() {
  printf '%s\n' "$1" >&2
  exit "${2:-2}"
}

[ -n "${SLURM_JOB_ID:-}" ] || stop_with "This is a job script: send it with \`sbatch slurm/$(basename "$0")\`, or see slurm/README.md."

# The last task of an array has the number of the whole array: NUMBER_TASK names the task alone.
JOB=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || JOB=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

# shellcheck source=slurm/lib/folders.sh
. "$KIT/slurm/lib/folders.sh"
# shellcheck source=slurm/lib/environment.sh
. "$KIT/slurm/lib/environment.sh"
# shellcheck source=slurm/lib/overlay.sh
. "$KIT/slurm/lib/overlay.sh"
# shellcheck source=slurm/lib/gpus.sh
. "$KIT/slurm/lib/gpus.sh"
# shellcheck source=slurm/lib/report.sh
. "$KIT/slurm/lib/report.sh"
# shellcheck source=slurm/lib/running.sh
. "$KIT/slurm/lib/running.sh"
# shellcheck source=slurm/lib/ranks.sh
. "$KIT/slurm/lib/ranks.sh"

# begin_job GPU [options]: everything that comes before the work. GPU is what the script is for where the request names
# no type: a100, `any`, or `none` for a job without one. Sets RUN_DIR, SCALE, DEVICE, ENTER, OPTIONS.
begin_job() {
  local gpu=$1
  shift
  cd "$KIT" || exit 2
  SECONDS=0
  export TQDM_MININTERVAL=${TQDM_MININTERVAL:-30} PYTHONUNBUFFERED=1
  choose_scratch
  choose_threads
  choose_address
  enter_environment
  check_gpus "$gpu"
  choose_run_dir "$@"
  check_room
  check_data "$@"
  OPTIONS=()
  has_option --out "$@" || OPTIONS+=(--out "$RUN_DIR")
  has_option --scale "$@" || OPTIONS+=(--scale "$SCALE")
  has_option --device "$@" || OPTIONS+=(--device "$DEVICE")
  OPTIONS+=("$@")
  STARTS=$(logged_starts) # what an earlier job has logged is none of this one's speed
  print_header | tee -a "$RUN_DIR/provenance.txt"
  trap 'on_signal USR1' USR1
  trap 'on_signal TERM' TERM
  watch_gpus
}

# has_option NAME [words]: is NAME or NAME=... among the words?
has_option() {
  local name=$1 word
  shift
  for word in "$@"; do
    case $word in "$name" | "$name"=*) return 0 ;; esac
  done
  return 1
}

# option_value NAME [words]: what follows the last NAME, the one that counts; empty where it is not there.
option_value() {
  local name=$1 found=''
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      "$name") found=${2:-} ;;
      "$name"=*) found=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$found"
}
