#!/usr/bin/env bash
#SBATCH --job-name=bench
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=02:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:a100:1
# needs: environment data
#
# The ladder of speed-ups on one GPU type, as records that 23_gpus_compared reads.
#   sbatch --gres=gpu:h100:1 slurm/bench_gpus.sh [options of `python -m course_utils bench`]
#   for gpu in a100 h100 l40s; do slurm/submit.sh bench_gpus.sh --gpu $gpu; done
# A benchmark that is interrupted begins again: half of one compares nothing.
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

# shellcheck disable=SC2034 # supervise reads it: `bench` knows no STOP file
PASS_SIGNALS=yes

begin_job any "$@"
type=$(slug "${ASKED/any/gpu}")
[ "$DEVICE" = cuda ] || type=cpu
records=$RUNS/bench/bench-$type-$SCALE-$SLURM_JOB_ID.jsonl
mkdir -p "$RUNS/bench"
rm -f "$records" # of an earlier start of this job
has_option --out "$@" || OPTIONS+=(--out "$records") # the last one counts
supervise srun --kill-on-bad-exit=1 "${ENTER[@]}" python -m course_utils bench "${OPTIONS[@]}"
echo "records: $(option_value --out "${OPTIONS[@]}")"
finish_job
