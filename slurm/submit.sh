#!/usr/bin/env bash
# Check what a job will need, print the sbatch line, and send it:
#
#   slurm/submit.sh SCRIPT [--site SITE] [--gpu TYPE[:N]] [--dry-run] [sbatch options] [-- options of the command]
#   slurm/submit.sh train_a100.sh --site nyu-torch --gpu h200 --time=02:00:00 -- --num-steps 20000
#
# SITE is a file of slurm/sites/ without .env (default: COURSE_SITE, else by the cluster's name, else generic).
# --dry-run prints, and asks Slurm with --test-only where there is one. sbatch alone works too: this only checks more.
set -euo pipefail

KIT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

stop_with() {
  printf '%s\n' "$1" >&2
  exit 2
}

usage() { sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; }

read_words() {
  SCRIPT='' SITE=${COURSE_SITE:-} GPU='' DRY='' SBATCH=() COMMAND=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit 0 ;;
      --site | --gpu) [ $# -ge 2 ] || stop_with "$1 wants a word behind it." ;;&
      --site) SITE=$2 && shift ;;
      --site=*) SITE=${1#*=} ;;
      --gpu) GPU=$2 && shift ;;
      --gpu=*) GPU=${1#*=} ;;
      --dry-run) DRY=yes ;;
      --) shift && COMMAND=("$@") && break ;;
      -A | -p | -t | -J | -C | -G | -w | -x | -d | -a | -q) SBATCH+=("$1" "${2:-}") && shift ;;
      -*) SBATCH+=("$1") ;;
      *) [ -z "$SCRIPT" ] || stop_with "Two scripts, $SCRIPT and $1: options of the command go behind --, sbatch options are written --name=value."
        SCRIPT=$1 ;;
    esac
    shift
  done
  [ -n "$SCRIPT" ] || { usage >&2 && exit 2; }
}

find_script() {
  local place names
  for place in "$SCRIPT" "$KIT/slurm/$SCRIPT" "$KIT/slurm/$SCRIPT.sh"; do
    if [ -f "$place" ]; then SCRIPT=$(realpath --relative-to="$PWD" "$place") && break; fi
  done
  names=$(grep -l '^#SBATCH' "$KIT"/slurm/*.sh | sed 's|.*/||' | paste -sd ' ' -)
  [ -f "$SCRIPT" ] || stop_with "There is no job script $SCRIPT: take one of $names."
  grep -q '^#SBATCH' "$SCRIPT" || stop_with "$SCRIPT is no job script (it has no #SBATCH line): take one of $names."
}

read_site() {
  local cluster
  if [ -z "$SITE" ]; then
    cluster=$(scontrol show config 2>/dev/null | sed -n 's/^ClusterName *= *//p' || true)
    case ${cluster,,} in *torch*) SITE=nyu-torch ;; *greene*) SITE=nyu-greene ;; *burst*) SITE=nyu-burst ;; *) SITE=generic ;; esac
  fi
  [ -f "$KIT/slurm/sites/$SITE.env" ] || stop_with "There is no site $SITE: take one of $(basename -s .env "$KIT"/slurm/sites/*.env | paste -sd ' ' -), or copy generic.env."
  # shellcheck source=slurm/sites/generic.env
  . "$KIT/slurm/sites/$SITE.env"
}

# The value of an sbatch option among the words: `sbatch_option account A`.
sbatch_option() {
  local word last=''
  for word in "${SBATCH[@]}"; do
    case $word in --"$1"=*) printf '%s' "${word#*=}" && return ;; esac
    [ "$last" != "-${2:-}" ] || { printf '%s' "$word" && return; }
    last=$word
  done
}

check_account() {
  local account
  account=$(sbatch_option account A)
  account=${account:-${SBATCH_ACCOUNT:-}}
  [ -n "$SITE_ACCOUNT_PATTERN" ] || return 0
  [ -n "$account" ] || stop_with "$SITE_NAME wants an account: export SBATCH_ACCOUNT=..., or --account=... ($SITE_ACCOUNT_HINT)."
  # shellcheck disable=SC2053 # the right side is a pattern
  [[ $account == $SITE_ACCOUNT_PATTERN ]] || stop_with "The account is $account, but those of $SITE_NAME look like $SITE_ACCOUNT_PATTERN ($SITE_ACCOUNT_HINT)."
}

# Ask for GPUs as the site does; without --gpu, for those of the script's own line, unless sbatch options say it all.
ask_gpus() {
  local type count partition pair own
  own=$(sed -n 's/^#SBATCH --gres=gpu:\([A-Za-z].*\)$/\1/p' "$SCRIPT")
  if [ -z "$GPU" ]; then
    [ -z "$(sbatch_option gres)$(sbatch_option constraint C)$(sbatch_option gpus G)$(sbatch_option gpus-per-node)" ] || return 0
    GPU=$own
  fi
  [ -n "$GPU" ] || return 0
  type=${GPU%%:*} count=1
  if [ "$GPU" != "$type" ]; then count=${GPU#*:}; elif [[ $own == *:* ]]; then count=${own##*:}; fi
  [[ $count =~ ^[1-9][0-9]*$ ]] || stop_with "--gpu is $GPU, wanted a type, or a type and how many a node: a100 or a100:2."
  [[ -z $SITE_GPUS || " $SITE_GPUS " == *" $type "* ]] || stop_with "$SITE_NAME has no $type: --gpu takes one of $SITE_GPUS."
  case $SITE_GPU_STYLE in
    gres) SBATCH+=(--gres="gpu:$type:$count") ;;
    constraint) SBATCH+=(--gres="gpu:$count" --constraint="$type") ;;
    partition)
      SBATCH+=(--gres="gpu:$count")
      export COURSE_GPU=$type # what the job's GPU check compares with: the request itself names no type
      for pair in $SITE_PARTITIONS; do if [ "${pair%%=*}" = "$type" ]; then partition=${pair#*=}; fi; done
      [ -n "$(sbatch_option partition p)" ] || SBATCH+=(--partition="${partition:?}")
      ;;
  esac
  [ "$type" != mi50 ] || export COURSE_CONTAINER_FLAGS=--rocm
}

needs() { sed -n 's/^# needs: *//p' "$SCRIPT" | grep -qw "$1"; }

# An environment: what COURSE_* name, else a venv of the kit, else the site's overlay.
check_environment() {
  if needs image; then
    [ -z "$SITE_OVERLAY" ] || export COURSE_OVERLAY=${COURSE_OVERLAY:-$SITE_OVERLAY} SITE_OVERLAY_TEMPLATE
    choose_image
  fi
  needs environment || return 0
  if [ -z "${COURSE_OVERLAY:-}${COURSE_VENV:-}${COURSE_CONDA_ENV:-}" ] && [ ! -x "$KIT/.venv/bin/python" ] && [ -n "$SITE_OVERLAY" ]; then
    export COURSE_OVERLAY=$SITE_OVERLAY
  fi
  if [ -n "${COURSE_OVERLAY:-}" ]; then
    [ -f "$COURSE_OVERLAY" ] || stop_with "The overlay $COURSE_OVERLAY is missing: slurm/submit.sh env_build.sh --site $SITE makes it."
    choose_image
    [ -f "${COURSE_IMAGE:-}" ] || stop_with "The container image '${COURSE_IMAGE:-}' is missing: set COURSE_IMAGE to a .sif of this site."
  elif [ -z "${COURSE_CONDA_ENV:-}" ] && [ ! -x "${COURSE_VENV:-$KIT/.venv}/bin/python" ]; then
    stop_with "There is no environment in ${COURSE_VENV:-$KIT/.venv}: slurm/submit.sh env_build.sh --site $SITE makes one."
  elif [ -z "${COURSE_CONDA_ENV:-}${COURSE_VENV:-}" ] && [ -f "$KIT/.venv/install.log" ] && [ ! -f "$KIT/.venv/course-stamp.json" ]; then
    stop_with "The environment in $KIT/.venv is unfinished: wait until env-build is gone from \`squeue --me\`, then look at env-build-*.out."
  fi
}

# The newest image that the site's pattern finds.
choose_image() {
  if [ -z "${COURSE_IMAGE:-}" ] && [ -n "$SITE_IMAGE" ]; then
    COURSE_IMAGE=$(compgen -G "$SITE_IMAGE" | sort -V | tail -n 1 || true)
  fi
  export COURSE_IMAGE COURSE_CONTAINER_FLAGS=${COURSE_CONTAINER_FLAGS:-$SITE_CONTAINER_FLAGS}
}

# What compute nodes may not be able to fetch: the images, and the weights that come with the kit.
check_data() {
  needs data || return 0
  local folder=${COURSE_DATA:-$KIT/data}
  [ "${COURSE_SCALE:-}" != smoke ] || return 0
  [ -f "$folder/cifar10.npz" ] || [ -d "$folder/cifar-10-batches-py" ] || [ -f "$folder/cifar-10-python.tar.gz" ] ||
    stop_with "No CIFAR-10 in $folder: type first (cd \"$folder\" && curl -fO https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz); COURSE_SCALE=smoke does without."
  [ -f "$KIT/data/base.safetensors" ] || stop_with "The kit's weights are missing in $KIT/data: git checkout -- data/base.safetensors"
}

make_folders() {
  local runs=$KIT/results/local/slurm
  [ -z "${SCRATCH:-}" ] || runs=$SCRATCH/diffusion-course
  mkdir -p "${COURSE_RUNS:-$runs}" || stop_with "The folder for runs, ${COURSE_RUNS:-$runs}, cannot be made: set COURSE_RUNS."
}

send() {
  local extra=() line
  while IFS= read -r line; do [ -z "$line" ] || extra+=("$line"); done <<<"$SITE_SBATCH"
  export COURSE_KIT=$KIT SITE_LOGIN
  [ -z "$SITE_DEFAULT_PARTITION" ] || export SBATCH_PARTITION=${SBATCH_PARTITION:-$SITE_DEFAULT_PARTITION}
  line=(sbatch "${extra[@]}" "${SBATCH[@]}" "$SCRIPT" "${COMMAND[@]}")
  [ -z "$SITE_NOTE" ] || printf '%s: %s\n' "$SITE_NAME" "$SITE_NOTE"
  exported
  printf '%q ' "${line[@]}" && printf '\n'
  if [ -n "$DRY" ]; then
    command -v sbatch >/dev/null || { echo "(no sbatch here: printed only)" && return 0; }
    echo "(dry run: Slurm is only asked, nothing is sent)"
    sbatch --test-only "${line[@]:1}" || refused $?
    return 0
  fi
  command -v sbatch >/dev/null || stop_with "There is no sbatch here: type this on a login node of $SITE_NAME."
  "${line[@]}" || refused $?
}

# What the job gets besides the line that is printed: both together are what to type for the same job.
exported() {
  local name
  for name in COURSE_OVERLAY COURSE_IMAGE COURSE_CONTAINER_FLAGS COURSE_GPU SBATCH_PARTITION; do
    [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
  done
}

# What may be wrong when sbatch says no.
refused() {
  echo "Slurm refused the job. Accounts: $SITE_ACCOUNT_HINT. GPUs and constraints that there are: sinfo -o '%G %f'" >&2
  exit "$1"
}

read_words "$@"
find_script
read_site
check_account
ask_gpus
check_environment
check_data
make_folders
send
