#!/bin/bash
#SBATCH --job-name=train
#SBATCH --output=%x-%j.out
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
srun --cpus-per-task=8 python3 -c '
import time
data, end = b"x" * 10**9, time.time() + 20
while time.time() < end: sum(range(10**5))'
