#!/bin/bash
#SBATCH --cpus-per-task=8
srun --cpus-per-task=8 sleep 60
