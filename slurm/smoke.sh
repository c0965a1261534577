#!/usr/bin/env bash
#SBATCH --job-name=smoke
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@30
#SBATCH --time=00:05:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --gres=gpu:1
# needs: environment
#
# Two minutes before a long run: GPU, dtypes, threads, communication, scratch.
#   sbatch slurm/smoke.sh
#   sbatch --gres=gpu:a100:4 slurm/smoke.sh
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

# shellcheck disable=SC2034 # the library reads them
PASS_SIGNALS=yes COURSE_SCALE=smoke COURSE_MIN_FREE_MB=${COURSE_MIN_FREE_MB:-128}

begin_job any "$@"
supervise srun --kill-on-bad-exit=1 "${ENTER[@]}" python "$KIT/slurm/smoke_checks.py" "$RUN_DIR" "$(ranks_per_node)"
finish_job
