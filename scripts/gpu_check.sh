#!/usr/bin/env bash
# One command of at most nine minutes for a machine with a CUDA GPU and no TensorFlow: a table of speed, the GPU
# tests, the suite clue11. scripts/gpu_check.py says what it does.
#
#   scripts/gpu_check.sh [--folder FOLDER FOR THE LOGS]
#   scripts/gpu_check.sh --rehearse       # the same path on a processor, tiny shapes: no figure of a GPU
#
# Needs: pip install "jax[cuda13]" keras numpy scipy scikit-learn ml-dtypes nvidia-ml-py psutil pydantic pyyaml \
#            click rich jinja2 tokenizers safetensors pooch nltk pytest
# (all of it wheels, so that `pip download` elsewhere will do); the program itself is read from this folder.
set -uo pipefail
cd "$(dirname "$0")/.."
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" scripts/gpu_check.py "$@"
