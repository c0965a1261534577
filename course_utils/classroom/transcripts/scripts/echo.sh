#!/bin/bash
#SBATCH --job-name=train
#SBATCH --output=%x-%j.out
srun python3 train.py
echo training is done
