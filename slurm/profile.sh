#!/usr/bin/env bash
#SBATCH --job-name=profile
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:a100:1
# needs: environment data
#
# A few training steps under a profiler: PROFILER=torch (a table and a Chrome trace) or PROFILER=nsys (Nsight Systems).
#   PROFILER=nsys sbatch slurm/profile.sh [--steps 5] [--treatments layout half_precision]
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

# shellcheck disable=SC2034 # supervise reads it: a profile that is interrupted begins again
PASS_SIGNALS=yes

begin_job any "$@"
steps=(python "$KIT/slurm/profile_steps.py" "${OPTIONS[@]}")
case ${PROFILER:-torch} in
  torch) ;;
  nsys)
    "${ENTER[@]}" bash -c 'command -v nsys' >/dev/null ||
      stop_with "PROFILER is nsys, and there is none in $ENVIRONMENT: module load cuda (or nsight-systems) before sbatch, or PROFILER=torch."
    steps=(nsys profile --output "$RUN_DIR/nsys-$SLURM_JOB_ID" --force-overwrite true --trace "cuda,nvtx,osrt" "${steps[@]}" --plain)
    ;;
  *) stop_with "PROFILER is $PROFILER, wanted torch or nsys." ;;
esac
supervise srun --kill-on-bad-exit=1 "${ENTER[@]}" "${steps[@]}"
finish_job
