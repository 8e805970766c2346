#!/usr/bin/env bash
# One command for a machine with a CUDA GPU, JAX with CUDA and no TensorFlow: the GPU tests and the benchmarks.
#
#   scripts/gpu_check.sh [FOLDER FOR THE LOGS]
#
# Needs: pip install "jax[cuda13]" keras numpy pydantic pyyaml click rich tokenizers safetensors pooch \
#            scikit-learn pytest && pip install --no-deps -e .
# Exit code: that of the first part that failed; every part runs.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=${1:-build/gpu}
mkdir -p "$logs"
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
python=${PYTHON:-python}
failed=0

part() {
    local name=$1
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$logs/$name.log"
    local code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ]; then
        echo "== $name failed with exit code $code"
        [ "$failed" -ne 0 ] || failed=$code
    fi
}

part machine "$python" -c "
import jax, keras
gpus = [device.device_kind for device in jax.devices() if device.platform == 'gpu']
print('jax', jax.__version__, 'keras', keras.__version__, 'devices', gpus)
raise SystemExit(0 if gpus else 'JAX sees no GPU: nothing to check')
"
[ "$failed" -eq 0 ] || exit "$failed"
part tests "$python" -m pytest -q -m gpu tests/gpu
part unit "$python" -m pytest -q tests/unit/models
part steps "$python" scripts/bench_steps.py --backend jax --device gpu
part attention "$python" scripts/check_attention.py --backend jax --device gpu
part lengths "$python" scripts/bench_lengths.py --backend jax --device gpu --shape base large --rows 4 \
    --lengths 128 512 1024 2048 4096 --forms einsum chunked fused --recompute none block
part drop "$python" scripts/bench_drop_tokens.py --backend jax --device gpu --rows 256
part sample "$python" -m clue_runner train --task afqmc --data sample --model tiny --backend jax --device gpu \
    --output "$logs/run" --fresh
echo "== logs are in $logs"
exit "$failed"
