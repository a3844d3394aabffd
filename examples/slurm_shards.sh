#!/bin/bash
# The same run as jobs that know nothing of each other, joined at the end:
#   array=$(sbatch --parsable examples/slurm_shards.sh)
#   sbatch --dependency=afterok:$array --wrap 'dysonjax merge runs/paper-shard-* --out runs/paper'
# A shard that was stopped or has failed goes on where it was when it is submitted again.
#SBATCH --job-name=phase-diagram-shard
#SBATCH --array=1-10
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
I=$SLURM_ARRAY_TASK_ID
N=${SLURM_ARRAY_TASK_COUNT}
OUT=runs/paper-shard-$(printf %03d "$I")

if [ -e "$OUT/run.zarr" ]; then
    srun dysonjax resume "$OUT"
else
    srun dysonjax phase-diagram --preset paper --seeds 100 --shard "$I/$N" --out "$OUT"
fi
code=$?

if [ $code -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
