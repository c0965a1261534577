#!/usr/bin/env bash
#SBATCH --job-name=train-a100
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=04:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:a100:1
# needs: environment data
#
# Train the baseline on one A100, with checkpoints; comes back by itself until it is done.
#   sbatch slurm/train_a100.sh [options of `python -m course_utils train`]
#   sbatch --gres=gpu:h100:1 slurm/train_a100.sh --treatments layout half_precision
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

begin_job a100 "$@"
supervise srun --kill-on-bad-exit=1 "${ENTER[@]}" python -m course_utils train "${OPTIONS[@]}"
finish_job
