#!/usr/bin/env bash
#SBATCH --job-name=jupyter
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --time=04:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:1
#SBATCH --no-requeue
# needs: environment
#
# JupyterLab on a compute node; the log says which line to type on your own machine. NYU Torch: Open OnDemand is easier.
#   sbatch slurm/jupyter.sh
set -euo pipefail

for KIT in "${COURSE_KIT:-}" "${SLURM_SUBMIT_DIR:-$PWD}" "${SLURM_SUBMIT_DIR:-$PWD}/.."; do [ -f "$KIT/slurm/lib.sh" ] && break; done
# shellcheck source=slurm/lib.sh
. "$KIT/slurm/lib.sh" || { echo "No slurm/lib.sh in $KIT: type sbatch in the kit's folder, or set COURSE_KIT to it." >&2 && exit 2; }

# shellcheck disable=SC2034 # supervise reads it
PASS_SIGNALS=yes

begin_job any
JUPYTER_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export JUPYTER_TOKEN
node=${SLURMD_NODENAME:-$(hostname -s)} login=${SITE_LOGIN:-${SLURM_SUBMIT_HOST:-LOGIN-NODE}}
(
  umask 077 # the token is for you alone, the log may be read by others
  echo "http://localhost:$MASTER_PORT/lab?token=$JUPYTER_TOKEN" >"$RUN_DIR/address-$SLURM_JOB_ID.txt"
)
echo "On your machine: ssh -N -L $MASTER_PORT:$node:$MASTER_PORT $(id -un)@$login"
echo "then open the address in $RUN_DIR/address-$SLURM_JOB_ID.txt; scancel $SLURM_JOB_ID when you are done."
supervise "${ENTER[@]}" python -m jupyterlab --no-browser --ip="$node" --port="$MASTER_PORT" --ServerApp.port_retries=0 \
  --ServerApp.root_dir="$KIT"
finish_job
