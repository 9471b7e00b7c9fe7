#!/bin/bash
# A sweep on one node that stops in time, queues itself again and goes on, until it is finished.
# Submit from the project's root, after `make env`: sbatch docs/slurm.sh
#SBATCH --job-name=hebbian
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hebbian-%j.log

# From Slurm 22.05 on, srun does not inherit --cpus-per-task.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/python -m runs.dense_phase_diagram \
    --preset paper \
    --executor "local:$SLURM_CPUS_PER_TASK" \
    --out results/dense_phase_diagram_paper.h5 \
    --resume
code=$?
# 143: stopped by SIGTERM, two minutes before the limit, with all that was finished in the file.
# A task that does not fit into the time limit would be begun for ever: an end to that.
if [ "$code" -eq 143 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
