#!/usr/bin/env bash
#SBATCH --job-name=train-multinode
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=04:00:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --gres=gpu:a100:2
# needs: environment data
#
# Train on several nodes: one torchrun a node, its rank pinned to Slurm's; LAUNCHER=srun starts every rank by srun.
#   sbatch --nodes=4 slurm/train_multinode.sh [options of `python -m course_utils train`]
# --batch-size is that of one process.
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

begin_job a100 "$@"
case ${LAUNCHER:-torchrun} in
  torchrun) launch_torchrun course_utils train --ddp "${OPTIONS[@]}" ;;
  srun) launch_srun course_utils train --ddp "${OPTIONS[@]}" ;;
  *) stop_with "LAUNCHER is $LAUNCHER, wanted torchrun or srun." ;;
esac
supervise "${LAUNCH[@]}"
finish_job
