#!/usr/bin/env bash
#SBATCH --job-name=sweep-table
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=00:10:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
# needs: environment
#
# Gather a sweep into one table, table.md in its folder; sweep_array.sh sends it.
#   sbatch slurm/sweep_table.sh FOLDER [NAMES-OF-THE-RUNS-THAT-WERE-ASKED-FOR]
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

[ $# -ge 1 ] || stop_with "Name the sweep's folder: sbatch slurm/sweep_table.sh FOLDER"
begin_job none --out "$1"
supervise "${ENTER[@]}" python "$KIT/slurm/sweep_table.py" "$@"
finish_job
