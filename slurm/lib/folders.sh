# shellcheck shell=bash
# Where a job works: scratch, the node's own folder, the run's folder, and whether there is room.

# SCRATCH where the site has one, else results/local of the kit; SLURM_TMPDIR, else a folder of our own under /tmp.
choose_scratch() {
  if [ -n "${COURSE_RUNS:-}" ]; then
    RUNS=$COURSE_RUNS
  elif [ -n "${SCRATCH:-}" ] && [ -d "$SCRATCH" ] && [ -w "$SCRATCH" ]; then
    RUNS=$SCRATCH/diffusion-course
  else
    RUNS=$KIT/results/local/slurm
  fi
  if [ -z "${SLURM_TMPDIR:-}" ] || [ ! -d "$SLURM_TMPDIR" ]; then
    OWN_TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/job-$SLURM_JOB_ID-XXXXXX") || stop_with "No temporary folder can be made in ${TMPDIR:-/tmp} of $(hostname -s): is it full?"
    SLURM_TMPDIR=$OWN_TMPDIR
    trap leave_tmpdir EXIT
  fi
  export SLURM_TMPDIR
}

leave_tmpdir() { [ -z "${OWN_TMPDIR:-}" ] || rm -rf "$OWN_TMPDIR"; }

# The run's folder depends on the job's name, the scale, the options and a GPU other than the script's own, so the same
# words typed again go on there.
choose_run_dir() {
  local given name
  given=$(option_value --out "$@")
  name=${COURSE_RUN:-$(slug "$SLURM_JOB_NAME${OTHER:+-$OTHER}-$SCALE${*:+-}$*")}
  RUN_DIR=${given:-$RUNS/$name}
  mkdir -p "$RUN_DIR" 2>/dev/null || stop_with "The run's folder $RUN_DIR cannot be made: is its disk full, or not yours? COURSE_RUNS names another place."
  RUN_DIR=$(cd "$RUN_DIR" && pwd)
  claim_run_dir
}

# slug WORDS: a file name made of them.
slug() {
  printf '%s' "$1" | tr -cs 'A-Za-z0-9._=' '-' | tr -s '-' | sed 's/^-*//; s/-*$//' | cut -c 1-120
}

# One job works in a folder at a time: two would write each other's checkpoints.
claim_run_dir() {
  local owner=''
  [ ! -f "$RUN_DIR/JOB" ] || read -r owner <"$RUN_DIR/JOB" || true
  if [ -n "$owner" ] && [ "$owner" != "$JOB" ] && [ -n "$(squeue -h -j "$owner" -t RUNNING,COMPLETING -o %i 2>/dev/null)" ]; then
    stop_with "Job $owner works in $RUN_DIR: wait for it, scancel it, or name another folder with COURSE_RUN=name."
  fi
  echo "$JOB" 2>/dev/null >"$RUN_DIR/JOB" || stop_with "$RUN_DIR cannot be written: its disk is full, or it is not yours. COURSE_RUNS names another place."
}

# Refuse to begin where a checkpoint would not fit: `df` says what is free, and a file that is written says more (quotas).
check_room() {
  local wanted=${COURSE_MIN_FREE_MB:-64} free probe=$RUN_DIR/.room-$SLURM_JOB_ID
  [ "$SCALE" = gpu ] && wanted=${COURSE_MIN_FREE_MB:-4000}
  free=$(df -Pm "$RUN_DIR" | awk 'NR == 2 { print $4 }')
  if [ "${free:-0}" -lt "$wanted" ]; then
    stop_with "$RUN_DIR has ${free:-?} MB free and the run needs $wanted MB (COURSE_MIN_FREE_MB): make room, or name another place with COURSE_RUNS."
  fi
  if ! head -c 4000000 /dev/zero 2>/dev/null >"$probe"; then
    rm -f "$probe"
    stop_with "$RUN_DIR cannot be written although it looks free: a quota is used up (myquota, or quota -s), or name another place with COURSE_RUNS."
  fi
  rm -f "$probe"
}

# At full scale the images must be there already: compute nodes may reach no network, and a stand-in wastes the night.
check_data() {
  [ "$SCALE" = gpu ] || return 0
  local folder places
  places=("$(option_value --data "$@")" "${COURSE_DATA:-}" "$KIT/data")
  for folder in "${places[@]}"; do
    [ -z "$folder" ] || ! has_cifar10 "$folder" || return 0
  done
  stop_with "No CIFAR-10 in ${COURSE_DATA:-$KIT/data}: on the login node, type first: (cd \"$KIT/data\" && curl -fO https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz)"
}

has_cifar10() {
  [ -f "$1/cifar10.npz" ] || [ -d "$1/cifar-10-batches-py" ] || [ -f "$1/cifar-10-python.tar.gz" ] || [[ -f $1 && $1 == *.npz ]]
}
