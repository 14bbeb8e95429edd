#!/usr/bin/env bash
# What only a machine with a GPU can show, in less than 8 minutes: the tests for GPUs, every golden on
# the GPU, and how long forward and training take beside other engines. Needs PyTorch with CUDA, this
# package's dependencies and pytest (`pip install -e .[test]`); ONNX Runtime's GPU build, with or
# without TensorRT, is measured where it is installed. Writes gpu.json and gpu.txt.
#
#   benchmarks/gpu.sh [--out FOLDER]
#   benchmarks/gpu.sh --cpu --quick     # is this script all right? A CPU stands in, one net is measured
set -euo pipefail
cd "$(dirname "$0")/.."
out=.
arguments=()
while [ $# -gt 0 ]; do
    if [ "$1" = --out ]; then out=$2; shift 2; else arguments+=("$1"); shift; fi
done
mkdir -p "$out"
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
timeout --kill-after=5 470 "${PYTHON:-python}" benchmarks/gpu.py --json "$out/gpu.json" \
    ${arguments[@]+"${arguments[@]}"} | tee "$out/gpu.txt"
