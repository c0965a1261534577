#!/usr/bin/env bash
#SBATCH --job-name=env-build
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --time=02:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
# needs: image
#
# Make the environment on a compute node, whose system may differ from the login node's: the kit's .venv, or with
# COURSE_OVERLAY an overlay for a container, one file instead of 50,000 (small quotas; submit.sh knows the site's).
#   sbatch slurm/env_build.sh
#   COURSE_OVERLAY=$SCRATCH/course.ext3 COURSE_IMAGE=/path/to/cuda.sif sbatch slurm/env_build.sh
# Needs a network. ENVIRONMENT_FILE=environment-v100.yml for GPUs of the Volta generation.
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

cd "$KIT"
choose_scratch
export TMPDIR=$SLURM_TMPDIR PIP_CACHE_DIR=$SLURM_TMPDIR/pip

if [ -n "${COURSE_OVERLAY:-}" ]; then
  build_overlay
else
  echo "building $KIT/.venv"
  "${PYTHON:-python3}" -I course_utils/classroom/install.py
  .venv/bin/python -m course_utils doctor
fi
