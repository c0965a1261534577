#!/bin/bash
#SBATCH --job-name=train
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
told=1
trap 'told=1; echo $(date +%T) trap: asks for a stop; touch STOP' USR1
rm -f STOP
echo $(date +%T) start after ${SLURM_RESTART_COUNT:-0} restarts
srun bash -c 'for i in {1..20}; do sleep 0.5; [ -e STOP ] && echo $(date +%T) saved && exit 75; done; echo $(date +%T) complete' &
pid=$!
while [ $told = 1 ]; do told=0; wait $pid; status=$?; done
[ $status = 75 ] && scontrol requeue $SLURM_JOB_ID && sleep 30
exit $status
