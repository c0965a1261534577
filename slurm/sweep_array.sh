#!/usr/bin/env bash
#SBATCH --job-name=sweep
#SBATCH --output=%x-%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=04:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:a100:1
#SBATCH --array=0-5
# needs: environment data
#
# Train every treatment at every seed, one array task each; a job that waits for all of them writes one table.
#   sbatch slurm/sweep_array.sh [options of `python -m course_utils train`]
#   SWEEP_TREATMENTS='none; layout half_precision' SWEEP_SEEDS='0 1 2' sbatch --array=0-5 slurm/sweep_array.sh
# Treatments are split at semicolons and blanks between them; --array counts treatments x seeds, from 0.
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

SWEEP_TREATMENTS=${SWEEP_TREATMENTS:-none; bottleneck(where=inside,reduction=2); fewer_blocks(blocks=1)}
SWEEP_SEEDS=${SWEEP_SEEDS:-0 1}

IFS=';' read -r -a treatments <<<"$SWEEP_TREATMENTS"
read -r -a seeds <<<"$SWEEP_SEEDS"
cells=$((${#treatments[@]} * ${#seeds[@]})) cell=${SLURM_ARRAY_TASK_ID:-0}
[ "$cell" -lt "$cells" ] || stop_with "Array task $cell of ${#treatments[@]} treatments x ${#seeds[@]} seeds: use --array=0-$((cells - 1))."
read -r -a words <<<"${treatments[cell / ${#seeds[@]}]}"
seed=${seeds[cell % ${#seeds[@]}]}

choose_scratch
# Other options are another sweep: the same words typed again go on in the same folder.
SWEEP_DIR=$RUNS/$(slug "${SWEEP_NAME:-$SLURM_JOB_NAME${COURSE_SCALE:+-$COURSE_SCALE}${*:+-$*}}")
run_name() { printf '%s-seed%s' "$(slug "${treatments[$1 / ${#seeds[@]}]}")" "${seeds[$1 % ${#seeds[@]}]}"; }
options=(--out "$SWEEP_DIR/$(run_name "$cell")" --seed "$seed")
[ "${words[*]}" = none ] || options+=(--treatments "${words[@]}")

# The first task, at its first start, sends the job that gathers: it waits for the whole array, however it ends.
if [ "$cell" -eq "${SLURM_ARRAY_TASK_MIN:-0}" ] && [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then
  runs=()
  for ((i = 0; i < cells; i++)); do runs+=("$(run_name "$i")"); done
  gather=(sbatch --dependency="afterany:${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" "$KIT/slurm/sweep_table.sh" "$SWEEP_DIR" "${runs[@]}")
  [ -z "${SLURM_JOB_ACCOUNT:-}" ] || export SBATCH_ACCOUNT=$SLURM_JOB_ACCOUNT
  own=(-u SLURM_CPUS_PER_TASK -u SLURM_TMPDIR -u SLURM_ARRAY_JOB_ID -u SLURM_ARRAY_TASK_ID)
  env "${own[@]}" COURSE_KIT="$KIT" "${gather[@]}" ||
    echo "No job was sent that gathers the results; when the array is done, type: ${gather[*]}" >&2
fi

begin_job a100 "${options[@]}" "$@"
supervise srun --kill-on-bad-exit=1 "${ENTER[@]}" python -m course_utils train "${OPTIONS[@]}"
finish_job
