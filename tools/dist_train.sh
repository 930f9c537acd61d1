#!/usr/bin/env bash
# Train on several GPUs, or in several processes on a machine without one.
set -euo pipefail

if [ $# -lt 2 ]; then
    cat >&2 <<USAGE
Usage: $0 CONFIG PROCESSES [flags of tools/train.py]
PROCESSES: on this machine, one a GPU.
Environment: PYTHON (python); several machines: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1),
PORT (29500; choose another for a second job on the machine).
USAGE
    exit 2
fi
config=$1
processes=$2
shift 2

tools=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "${NNODES:-1}" \
    --node-rank "${NODE_RANK:-0}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" \
    --master-port "${PORT:-29500}" \
    --nproc-per-node "$processes" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
