# shellcheck shell=bash
# Which GPU was asked for, which one is here: a number must never come from another GPU than it says.

# check_gpus FALLBACK: compares asked and seen on every node; sets SCALE, DEVICE, GPUS (names here),
# ASKED, and OTHER where another type was asked for than the script is named after.
check_gpus() {
  local fallback=$1 node names
  SCALE=${COURSE_SCALE:-gpu} DEVICE=cuda GPUS='' ASKED='' OTHER=''
  if [ "$fallback" = none ]; then
    SCALE=${COURSE_SCALE:-smoke} DEVICE=cpu
    return
  fi
  ASKED=$(asked_gpus)
  ASKED=${ASKED:-${COURSE_GPU:-$fallback}}
  # shellcheck disable=SC2034 # folders.sh reads it
  [ "$fallback" = any ] || [ "$ASKED" = "$fallback" ] || OTHER=$ASKED
  if ! has_driver; then
    SCALE=smoke DEVICE=cpu
    return
  fi
  while IFS=$'\t' read -r node names; do
    judge_gpus "$node" "$names"
    GPUS="${GPUS:+$GPUS; }$node: $names"
  done < <(gpus_of_nodes)
}

# One line a node: its name, a tab, its GPUs.
gpus_of_nodes() {
  if [ "${SLURM_NNODES:-1}" -gt 1 ]; then
    srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 bash -c "$(declare -f seen_gpus node_line); node_line"
  else
    node_line
  fi
}

node_line() {
  printf '%s\t%s\n' "${SLURMD_NODENAME:-$(hostname -s)}" "$(seen_gpus | paste -sd , - | sed 's/,/, /g')"
}

# The names of the GPUs that this job may use on this node, one a line.
seen_gpus() {
  local chosen=()
  if command -v nvidia-smi >/dev/null; then
    [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || chosen=(-i "$CUDA_VISIBLE_DEVICES")
    nvidia-smi "${chosen[@]}" --query-gpu=name --format=csv,noheader 2>/dev/null || true
  elif command -v rocm-smi >/dev/null; then
    rocm-smi --showproductname 2>/dev/null | sed -n 's/.*Card [Ss]eries:[[:space:]]*//p'
  fi
}

# Is this a machine with a GPU at all? One whose driver is there and shows nothing is broken, which is another matter.
has_driver() {
  command -v nvidia-smi >/dev/null || command -v rocm-smi >/dev/null || [ -e /proc/driver/nvidia/version ] || [ -e /dev/kfd ]
}

# What was asked for, as `a100` or `h200|l40s`: the type in --gres, else the GPUs in --constraint; empty where neither
# names one.
asked_gpus() {
  local shown type
  shown=$(scontrol -o show job "$JOB" 2>/dev/null || true)
  type=$(sed -n 's/.* TresPer[A-Za-z]*=[^ ]*gres[:/]gpu[:/=]\([A-Za-z][^:, ]*\).*/\1/p' <<<"$shown")
  if [ -z "$type" ]; then
    type=$(sed -n 's/.* Features=\([^ ]*\).*/\1/p' <<<"$shown" | grep -oiE '\b(rtx_?pro_?|rtx_?|gtx_?|gh|gb|mi|[abhklptv])[0-9]+\w*' | paste -sd '|' - || true)
  fi
  printf '%s' "$type"
}

# judge_gpus NODE NAMES: stops the job where the GPUs of a node are not what was asked for.
judge_gpus() {
  local name
  [ -n "$2" ] || stop_with "Asked for ${ASKED:-a GPU}, but $1 has a driver and shows no GPU: report the node, and sbatch with --exclude=$1."
  [ "$ASKED" != any ] || return 0
  while IFS= read -r name; do
    is_asked "$name" || stop_with "Asked for $ASKED, but $1 has $name: no number of another GPU is taken. Ask with --gres=gpu:TYPE:N (or --constraint) for what you want."
  done <<<"${2//, /$'\n'}"
}

# is_asked NAME: is the GPU of that name one of ASKED? Compares whole words, so that `l4` is no L40S; `rtx8000` is
# "Quadro RTX 8000", and of `a100_80g` the part with the model's number counts.
is_asked() {
  local type words i j joined
  read -r -a words <<<"$(tr 'A-Z_-' 'a-z  ' <<<"$1")"
  for type in $(tr 'A-Z|' 'a-z ' <<<"$ASKED"); do
    if [[ ${type%%[_-]*} == *[0-9]* ]]; then type=${type%%[_-]*}; else type=${type//[_-]/}; fi
    for ((i = 0; i < ${#words[@]}; i++)); do
      joined=''
      for ((j = i; j < ${#words[@]}; j++)); do
        joined+=${words[j]}
        [ "$joined" != "$type" ] || return 0
      done
    done
  done
  return 1
}

# Look at the GPUs every COURSE_SAMPLE_S seconds while the job runs; every tenth minute, say so where they idle.
watch_gpus() {
  GPU_LOG='' WATCHER=''
  if [ "$DEVICE" != cuda ] || ! command -v nvidia-smi >/dev/null; then return 0; fi
  GPU_LOG=$RUN_DIR/gpu-$SLURM_JOB_ID.csv
  look_again &
  WATCHER=$!
}

look_again() {
  local pause=${COURSE_SAMPLE_S:-15} count=0 window chosen=()
  trap - TERM USR1 EXIT
  window=$((600 / pause + 1))
  [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || chosen=(-i "$CUDA_VISIBLE_DEVICES")
  while sleep "$pause"; do
    nvidia-smi "${chosen[@]}" --query-gpu=utilization.gpu,memory.used,power.draw --format=csv,noheader,nounits >>"$GPU_LOG" 2>/dev/null || return 0
    count=$((count + 1))
    if [ $((count % window)) -eq 0 ]; then warn_if_idle "$window"; fi
  done
}

# warn_if_idle N: a line in the log where the last N looks show GPUs busy for less than 70 % of the time.
warn_if_idle() {
  tail -n "$1" "$GPU_LOG" | awk -F', *' '{ sum += $1 } END { if (NR && sum / NR < 70) printf "GPU use %.0f %% in the last ten minutes: sites cancel jobs below 50 to 60 %%, see slurm/README.md\n", sum / NR }'
}
