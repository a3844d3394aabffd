#!/bin/bash
# One run on several nodes: every process trains its own seeds and writes its own part of one store.
#   sbatch examples/slurm_distributed.sh
# When the time is up, SLURM sends SIGTERM two minutes before; the run saves itself and the job queues again.
#SBATCH --job-name=phase-diagram
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1        # with GPUs: one task for each, and --gpus-per-task=1
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
OUT=${OUT:-runs/paper}             # on a file system that all nodes see

if [ -e "$OUT/run.zarr" ]; then
    srun dysonjax resume "$OUT" --distributed
else
    srun dysonjax phase-diagram --preset paper --seeds 100 --distributed --out "$OUT"
fi
code=$?

# 143: stopped by SIGTERM, saved. 1: a node was lost or the disk is full; what is saved is intact.
if [ $code -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
