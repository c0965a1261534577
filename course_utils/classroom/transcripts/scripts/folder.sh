#!/bin/bash
#SBATCH --job-name=train
#SBATCH --output=logs/%x-%j.out
echo training
