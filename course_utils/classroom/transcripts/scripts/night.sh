#!/usr/bin/env bash
#SBATCH --job-name=night
#SBATCH --output=logs/%x-%j.out
#SBATCH --error=$HOME/night-%j.err
# SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:a100:1
#SBATCH --signal=B:USR1@180

trap 'touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night
echo "training is done"
