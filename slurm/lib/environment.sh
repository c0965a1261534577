# shellcheck shell=bash
# Which Python a job uses, and how much of the machine it may take.

# Sets ENTER, the words in front of a command that put it into the environment: an overlay's container, or none for a
# venv or conda environment, which are activated here. The first that is named, or there, wins.
enter_environment() {
  ENTER=()
  if [ -n "${COURSE_OVERLAY:-}" ]; then
    enter_overlay
  elif [ -n "${COURSE_CONDA_ENV:-}" ]; then
    enter_conda
  elif [ -x "${COURSE_VENV:-$KIT/.venv}/bin/python" ]; then
    ENVIRONMENT=${COURSE_VENV:-$KIT/.venv}
    PATH=$ENVIRONMENT/bin:$PATH
    export PATH VIRTUAL_ENV=$ENVIRONMENT
  elif [ -n "${COURSE_VENV:-}" ]; then
    stop_with "COURSE_VENV is $COURSE_VENV, and there is no Python in it: sbatch slurm/env_build.sh makes one."
  else
    ENVIRONMENT="the Python of the submitting shell"
  fi
  unset PYTHONPATH PYTHONHOME
  VERSIONS=$("${ENTER[@]}" python -c "$ASK_VERSIONS" 2>&1) || stop_with "No Python with the kit's packages ($ENVIRONMENT): make one with \`sbatch slurm/env_build.sh\`, or name it in COURSE_VENV, COURSE_CONDA_ENV or COURSE_OVERLAY. It said: ${VERSIONS##*$'\n'}"
}

ASK_VERSIONS='import platform; from importlib.metadata import version
names = ("torch", "denoising-diffusion-pytorch")
print(", ".join(["Python " + platform.python_version(), *(name + " " + version(name) for name in names)]))'

enter_overlay() {
  local container flags
  [ -f "$COURSE_OVERLAY" ] || stop_with "COURSE_OVERLAY is $COURSE_OVERLAY, and there is no such file: sbatch slurm/env_build.sh makes it."
  [ -f "${COURSE_IMAGE:-}" ] || stop_with "COURSE_IMAGE is '${COURSE_IMAGE:-}', and an overlay needs a container image: name a .sif (slurm/sites/ holds your site's)."
  container=$(command -v apptainer || command -v singularity) || stop_with "COURSE_OVERLAY is set, but neither apptainer nor singularity is on this node: module load apptainer?"
  read -r -a flags <<<"${COURSE_CONTAINER_FLAGS:---nv}"
  ENVIRONMENT="$COURSE_OVERLAY in $COURSE_IMAGE"
  # shellcheck disable=SC2016 # the variables are the container's
  ENTER=("$container" exec "${flags[@]}" --overlay "$COURSE_OVERLAY:ro" "$COURSE_IMAGE"
    bash -c 'if [ -f /ext3/env.sh ]; then . /ext3/env.sh; fi; exec "$@"' enter)
}

# conda's scripts read variables that are not set: `set -u` would end the job there.
enter_conda() {
  local base
  set +u
  if ! command -v conda >/dev/null; then
    stop_with "COURSE_CONDA_ENV is $COURSE_CONDA_ENV, but there is no conda here: module load it before sbatch."
  fi
  base=$(conda info --base)
  # shellcheck disable=SC1091 # conda's own file
  . "$base/etc/profile.d/conda.sh"
  conda activate "$COURSE_CONDA_ENV" || stop_with "conda cannot activate $COURSE_CONDA_ENV: conda env list names what there is."
  set -u
  ENVIRONMENT="conda environment $COURSE_CONDA_ENV"
}

# CORES is what a task was allotted, never more than the node lets this job have; nproc alone would obey OMP_NUM_THREADS.
choose_threads() {
  local there
  there=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  CORES=${SLURM_CPUS_PER_TASK:-1}
  [ "$CORES" -le "$there" ] || CORES=$there
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # since 22.05 srun forgets it
  share_threads 1
}

# share_threads N: the threads of each of N processes on a node; a smaller number that was set before stays.
share_threads() {
  local each=$((CORES / $1))
  [ "$each" -ge 1 ] || each=1
  if [ -z "${OMP_NUM_THREADS:-}" ] || [ "$OMP_NUM_THREADS" -gt "$each" ]; then
    export OMP_NUM_THREADS=$each
  fi
  export MKL_NUM_THREADS=$OMP_NUM_THREADS
}

# Where ranks meet: the first node under a name or address that resolves, and a port that no other job computes.
choose_address() {
  local first
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  if ! getent hosts "$first" >/dev/null; then
    first=$(scontrol -o show node "$first" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
  fi
  export MASTER_ADDR=$first MASTER_PORT=$((12000 + (SLURM_JOB_ID * 7 + ${SLURM_RESTART_COUNT:-0}) % 20000))
}
