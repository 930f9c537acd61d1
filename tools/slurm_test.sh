#!/usr/bin/env bash
# Score a checkpoint on a Slurm cluster; one task a GPU.
set -euo pipefail

if [ $# -lt 4 ]; then
    cat >&2 <<USAGE
Usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]
Environment: GPUS (8), GPUS_PER_NODE (8, or GPUS if fewer), CPUS_PER_TASK (5),
SRUN_ARGS (more flags for srun), PYTHON (python).
USAGE
    exit 2
fi
partition=$1
job_name=$2
config=$3
checkpoint=$4
shift 4

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -ra srun_args <<< "${SRUN_ARGS:-}"

tools=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec srun \
    --partition="$partition" \
    --job-name="$job_name" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --gres="gpu:$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$tools/test.py" "$config" "$checkpoint" --launcher slurm "$@"
