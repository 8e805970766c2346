"""Where a run will compute, found without loading a backend.

In: the settings, the driver's list of GPUs. Out: the choices that the loaded backend would make,
and the run with them filled in. Knows nothing about memory or networks.
"""

from __future__ import annotations

from clue_runner.config.attention import FUSED, fused_problems
from clue_runner.config.schema import Run
from clue_runner.engines.attention import choose_attention
from clue_runner.engines.devices import Choice, Device, choose_jit, choose_precision
from clue_runner.engines.gpus import visible_gpu_count
from clue_runner.memory.limits import free_gpu_bytes
from clue_runner.models.shape import BlockShape
from clue_runner.runs.machine import core_count
from clue_runner.training.network import Choices


def guess_device(run: Run) -> Device:
    """Return the device that ``run.device`` means; for ``auto`` a GPU if the driver lists one."""
    index = int(run.device.partition(":")[2] or 0)
    if run.device.startswith("gpu") or (run.device == "auto" and free_gpu_bytes(index) is not None):
        alone = run.backend != "jax" or ":" in run.device
        count = 1 if alone else max(1, visible_gpu_count())
        return Device("gpu", index, f"GPU {index}" if count == 1 else f"{count} GPUs", core_count(), count)
    return Device("cpu", 0, "CPU", core_count())


def guess_choices(run: Run) -> Choices:
    """Return the device, precision, compiler and attention form that training will choose.

    Raises:
        UsageError: the fused attention kernel is requested where it cannot run.
    """
    device = guess_device(run)
    precision = choose_precision(run.train.precision, device)
    jit = choose_jit(run.train.jit, run.backend, device)
    return Choices(device, precision, jit, _guess_attention(run, device, precision.value))


def _guess_attention(run: Run, device: Device, precision: str) -> Choice | None:
    """Return the attention form; the GPU's kernel is assumed to compile."""
    model = run.model
    if not isinstance(model, BlockShape):
        return None
    problems = fused_problems(
        backend=run.backend,
        device=device.kind,
        precision=precision,
        head_width=model.hidden_dim // model.num_heads,
        attention_dropout=model.attention_dropout,
        adds_scores=model.ADDS_SCORES,
    )
    if model.attention in {"auto", FUSED} and next(problems, None) is None:
        return Choice(FUSED, "the GPU's kernel skips padding")
    return choose_attention(
        model, run.data.max_length, run.backend, gpu=device.kind == "gpu", precision=precision
    )
