"""Which form of attention a run computes, with its reason.

In: the settings, backend, device and precision. Out: a choice with a text to print.
Knows nothing about how a form computes. Imports the backend's engine if a GPU must be queried.
"""

from __future__ import annotations

from clue_runner.config.attention import ATTENTION, FUSED, LONGEST_WHOLE, fused_problems
from clue_runner.engines.devices import Backend, Choice
from clue_runner.errors import Problem, UsageError
from clue_runner.models.shape import BlockShape


def choose_attention(
    model: BlockShape, longest: int, backend: Backend, *, gpu: bool, precision: str
) -> Choice:
    """Return ``einsum``, ``chunked``, ``fused`` or ``auto`` (by each batch's length) and the reason.

    Args:
        model: the settings; ``model.attention`` is the request.
        longest: most tokens in one row.
        backend: what computes.
        gpu: it computes on a GPU.
        precision: ``float32`` or ``bfloat16``.

    Raises:
        UsageError: the fused kernel is requested but cannot run.
    """
    if model.attention not in {"auto", FUSED}:
        return Choice(model.attention, "as set")
    problems = _fused_problems(model, backend, gpu, precision, model.attention_dropout)
    if model.attention == FUSED:
        _refuse(problems)
        return Choice(FUSED, "as set")
    if not problems:
        return Choice(FUSED, "the GPU's kernel skips padding")
    why = f"no fused kernel: {problems[0].what}" if gpu and backend == "jax" else ""
    if longest <= LONGEST_WHOLE:
        return Choice("einsum", why or f"rows of at most {longest:,} tokens")
    more = f"; {why}" if why else ""
    if backend == "jax":  # each length is compiled separately, so short batches need not pay for long ones
        return Choice("auto", f"chunked in batches of more than {LONGEST_WHOLE:,} tokens per row{more}")
    return Choice("chunked", f"rows of up to {longest:,} tokens{more}")


def require_attention(model: BlockShape, backend: Backend, precision: str) -> None:
    """Refuse the fused kernel if it cannot run for inference on the backend's default device.

    Raises:
        UsageError: as ``choose_attention``.
    """
    if model.attention == FUSED:
        from clue_runner.engines import device_tools

        gpu = bool(device_tools(backend).gpu_names())
        _refuse(_fused_problems(model, backend, gpu, precision, attention_dropout=0.0))


def _refuse(problems: list[Problem]) -> None:
    """Raise if something prevents the fused kernel from running."""
    if problems:
        raise UsageError(
            "the fused attention kernel cannot run here",
            where=ATTENTION,
            received=FUSED,
            problems=problems,
            next_step=f"remove the cause named above, or --set {ATTENTION}=auto, which reports its choice",
        )


def _fused_problems(
    model: BlockShape, backend: Backend, gpu: bool, precision: str, attention_dropout: float
) -> list[Problem]:
    """Return why the fused kernel cannot run; the GPU's compiler decides last."""
    head_width = model.hidden_dim // model.num_heads
    problems = list(
        fused_problems(
            backend=backend,
            device="gpu" if gpu else "cpu",
            precision=precision,
            head_width=head_width,
            attention_dropout=attention_dropout,
            adds_scores=model.ADDS_SCORES,
        )
    )
    if problems:
        return problems
    from clue_runner.engines.jax_devices import fused_attention_fault

    fault = fused_attention_fault(head_width)
    return [Problem("the GPU's kernel does not compile", received=fault)] if fault else []
