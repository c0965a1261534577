#!/bin/bash
#SBATCH --job-name=train
#SBATCH --output=%x-%j.out
#SBATCH --signal=B:USR1@180
trap 'echo $(date +%T) trap: asks for a stop; touch STOP' USR1
echo $(date +%T) start
srun bash -c 'for i in {1..40}; do sleep 0.5; [ -e STOP ] && exit 75; done; echo $(date +%T) never asked to stop'
