# shellcheck shell=bash
# An environment in one file: an ext3 overlay for a container, with conda and the kit's packages under /ext3.

MINIFORGE=${MINIFORGE:-https://github.com/conda-forge/miniforge/releases/latest/download/Miniforge3-Linux-x86_64.sh}

# Build beside the final name, and rename when it works: a job never meets half an environment.
build_overlay() {
  local container unfinished=$COURSE_OVERLAY.unfinished
  container=$(command -v apptainer || command -v singularity) || stop_with "Neither apptainer nor singularity is on this node: module load apptainer?"
  [ -f "${COURSE_IMAGE:-}" ] || stop_with "COURSE_IMAGE is '${COURSE_IMAGE:-}': name a container image (.sif) of this site."
  [ ! -e "$COURSE_OVERLAY" ] || stop_with "$COURSE_OVERLAY is there already: remove it first if you want another."
  mkdir -p "$(dirname "$COURSE_OVERLAY")"
  rm -f "$unfinished"
  empty_overlay "$container" "$unfinished"
  "$container" exec --fakeroot --overlay "$unfinished:rw" "$COURSE_IMAGE" \
    bash -euc "$INSIDE" inside "$MINIFORGE" "$KIT" "${ENVIRONMENT_FILE:-environment.yml}"
  mv "$unfinished" "$COURSE_OVERLAY"
  echo "built $COURSE_OVERLAY: export COURSE_OVERLAY=$COURSE_OVERLAY COURSE_IMAGE=$COURSE_IMAGE"
}

# empty_overlay CONTAINER FILE: the site's template, unpacked, or a new one of 15 GB.
empty_overlay() {
  if [ -f "${SITE_OVERLAY_TEMPLATE:-}" ]; then
    gunzip -c "$SITE_OVERLAY_TEMPLATE" >"$2"
  else
    "$1" overlay create --size 15360 "$2"
  fi
}

# What runs in the container: Miniforge, the packages of the environment file, and the script that activates them. The
# kit itself stays where it is, so that its lines can be edited without another build.
# shellcheck disable=SC2016 # the variables are the container's
INSIDE='
installer=$(mktemp)
{ command -v curl >/dev/null && curl -fsSL "$1" -o "$installer"; } || wget -qO "$installer" "$1"
bash "$installer" -b -p /ext3/miniforge3
rm -f "$installer"
printf "%s\n" "set +u" "unset -f which" ". /ext3/miniforge3/etc/profile.d/conda.sh" "conda activate diffusion-course" >/ext3/env.sh
cd "$2"
/ext3/miniforge3/bin/conda env create -n diffusion-course -f "$3"
/ext3/miniforge3/bin/conda clean -afy
. /ext3/env.sh
python -m course_utils doctor
'
