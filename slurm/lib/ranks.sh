# shellcheck shell=bash
# Several processes of one command: how many a node runs, and the words that start them.

# ranks_per_node: one for each GPU that was allotted, also where it is only said to be there; COURSE_RANKS_PER_NODE wins.
ranks_per_node() {
  local count=${COURSE_RANKS_PER_NODE:-${SLURM_GPUS_ON_NODE:-}}
  if [ -z "$count" ] && [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    count=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
  fi
  printf '%s' "${count:-1}"
}

# launch_torchrun MODULE-WORDS...: one launcher a node, its rank pinned to Slurm's, since a rendezvous may count otherwise
# and rank 0 is the one that writes. Sets LAUNCH.
launch_torchrun() {
  local ranks
  ranks=$(ranks_per_node)
  share_threads "$ranks"
  # shellcheck disable=SC2016 # SLURM_NODEID is another one on every node
  LAUNCH=(srun --kill-on-bad-exit=1 --ntasks="$SLURM_NNODES" --ntasks-per-node=1 "${ENTER[@]}"
    bash -c 'exec python -m torch.distributed.run --node-rank="$SLURM_NODEID" "$@"' launch
    --nnodes="$SLURM_NNODES" --nproc-per-node="$ranks" --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT"
    --max-restarts=0 -m "$@")
}

# launch_srun MODULE-WORDS...: Slurm starts every rank itself, which the command reads from SLURM_PROCID. Sets LAUNCH.
launch_srun() {
  local ranks cpus
  ranks=$(ranks_per_node)
  share_threads "$ranks"
  cpus=$((${SLURM_CPUS_PER_TASK:-1} * ${SLURM_NTASKS_PER_NODE:-1} / ranks))
  # shellcheck disable=SC2034 # the scripts run it
  LAUNCH=(srun --kill-on-bad-exit=1 --ntasks="$((SLURM_NNODES * ranks))" --ntasks-per-node="$ranks"
    --cpus-per-task="$((cpus > 0 ? cpus : 1))" "${ENTER[@]}" python -m "$@")
}
