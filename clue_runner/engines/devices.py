"""Which backend, device, precision and compiler a run uses, each with its reason.

In: the user's settings and the machine. Out: choices with a text to print.
Knows nothing about networks. Keras is not imported here; the backend must be set before it is.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast, get_args

from clue_runner.config.shipped import clue_home
from clue_runner.errors import UsageError
from clue_runner.runs.machine import core_count, processor_flags

Backend = Literal["tensorflow", "jax"]


@dataclass(frozen=True)
class Choice:
    """A resolved setting, and the reason."""

    value: str
    reason: str


@dataclass(frozen=True)
class Device:
    """Where a run computes.

    Args:
        kind: cpu or gpu.
        index: the number of the first device.
        text: for people.
        cores: of the processor.
        count: devices that share each batch, those from ``index`` on.
    """

    kind: Literal["cpu", "gpu"]
    index: int
    text: str
    cores: int
    count: int = 1

    @property
    def batches_at_once(self) -> int:
        """Return how many batches are answered side by side.

        Two on a CPU: between the large products one batch leaves cores idle. On a GPU both would take memory
        and wait for each other.
        """
        return 2 if self.kind == "cpu" and self.cores > 1 and self.count == 1 else 1


def current_backend() -> Backend:
    """Return the backend that this process has loaded, asks for, or gets by default.

    Raises:
        UsageError: it is not supported.
    """
    if "keras" in sys.modules:
        name = sys.modules["keras"].config.backend()
    else:
        name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in get_args(Backend):
        raise UsageError("the backend is not supported", received=name, allowed=", ".join(get_args(Backend)))
    return cast(Backend, name)


def set_backend(backend: Backend) -> None:
    """Choose Keras's backend; must run before Keras is imported.

    Raises:
        UsageError: the environment or an earlier import requires another backend, or it is not installed.
    """
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted and wanted != backend:
        raise UsageError(
            "two different backends are requested",
            where="environment variable KERAS_BACKEND",
            received=f"{wanted}, but the run says {backend}",
            next_step=f"unset KERAS_BACKEND, or run with --backend {wanted}",
        )
    if "keras" in sys.modules:
        current = sys.modules["keras"].config.backend()
        if current != backend:
            raise UsageError(
                f"this process already computes with {current}",
                where="--backend",
                received=backend,
                next_step="start a new process: Keras cannot change its backend",
            )
    if importlib.util.find_spec(backend) is None:
        extra = "jax" if backend == "jax" else "gpu"
        raise UsageError(
            f"{backend} is not installed",
            where="--backend",
            received=backend,
            next_step=f"install it (pip install 'clue-runner[{extra}]'), or choose the other backend",
        )
    os.environ["KERAS_BACKEND"] = backend
    # quiet start; GPU memory is not allocated all at once, so that a second process can start beside it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if backend == "jax":
        _let_gpu_fill()
        _keep_compiled_steps()


def _let_gpu_fill() -> None:
    """Let XLA allocate nearly all of a GPU's memory incrementally.

    Its pool stops at three quarters even when it grows, and a batch size planned for the free memory
    would not fit. The user's setting is kept, under either of JAX's two names: it refuses both at once.
    """
    if "XLA_CLIENT_MEM_FRACTION" not in os.environ:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")


def _keep_compiled_steps() -> None:
    """Let JAX keep compiled steps between processes: a resumed run need not compile again.

    Anyone who can write there can execute code in this process, so the folder is private to the user.
    """
    folder = clue_home() / "cache" / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError:
        return  # an unwritable home only costs compile time
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2 * 1024**3))


def choose_device(backend: Backend, device: str, *, shared: bool = False) -> Device:
    """Return the device for ``auto``, ``cpu``, ``gpu`` or ``gpu:N`` and make the backend use it.

    Args:
        backend: the one that Keras runs on.
        device: as the user asks for it.
        shared: batches can be shared among devices: unless one is named, all that the backend can use are.

    Raises:
        UsageError: a GPU is requested, but the backend sees none with that number.
    """
    from clue_runner.engines import device_tools

    tools = device_tools(backend)
    names = [] if device == "cpu" else tools.gpu_names()
    index = int(device.partition(":")[2] or 0) if device.startswith("gpu") else 0
    if device.startswith("gpu") and index >= len(names):
        raise UsageError(
            f"{backend} sees no GPU with that number" if names else f"{backend} sees no GPU",
            where="--device",
            received=device,
            allowed=", ".join(["auto", "cpu", *(f"gpu:{number}" for number in range(len(names)))]),
            next_step="run with --device cpu, or install a backend with CUDA (clue-runner[jax-cuda])",
        )
    cores = core_count()
    if names:
        tools.use_gpu(index)
        count = tools.sharing_count() if shared and ":" not in device else 1
        return Device("gpu", index, _gpus_text(backend, names, index, count), cores, count)
    tools.use_cpu()
    count = tools.sharing_count() if shared else 1
    devices = "" if count == 1 else f" as {count} devices that share each batch"
    why = "" if device == "cpu" else f", {backend} sees no GPU"
    return Device("cpu", 0, f"CPU, {cores} cores{devices} ({backend}{why})", cores, count)


def _gpus_text(backend: Backend, names: list[str], index: int, count: int) -> str:
    """Return the GPUs at work in words, and those of a backend that can use but one."""
    if count > 1:
        kinds = " + ".join(f"{number} x {name}" for name, number in Counter(names).items())
        return f"{kinds} (gpu:0 to gpu:{count - 1}, {backend}), which share each batch"
    idle = len(names) - 1 if backend == "tensorflow" else 0
    beside = f"; it uses one GPU, {idle} more stay idle" if idle else ""
    return f"{names[index]} (gpu:{index}, {backend}{beside})"


def choose_precision(setting: str, device: Device, flags: frozenset[str] | None = None) -> Choice:
    """Return ``float32`` or ``bfloat16`` and the reason.

    Args:
        setting: ``auto``, ``float32`` or ``bfloat16``.
        device: where the run computes.
        flags: the processor's flags; None: read from this machine.
    """
    if setting != "auto":
        return Choice(setting, "as set")
    if device.kind == "gpu":
        return Choice("bfloat16", "a GPU multiplies bfloat16 faster")
    found = (processor_flags() if flags is None else flags) & {"avx512_bf16", "amx_bf16"}
    if found:
        return Choice("bfloat16", f"the processor has {' and '.join(sorted(found))}")
    return Choice("float32", "the processor has neither AVX512-BF16 nor AMX")


def choose_jit(setting: str, backend: Backend, device: Device) -> Choice:
    """Return ``on`` or ``off`` and the reason; ``auto`` is off only for TensorFlow on a CPU."""
    if setting != "auto":
        return Choice(setting, "as set")
    if backend == "jax":
        return Choice("on", "JAX compiles its steps")
    if device.kind == "gpu":
        return Choice("on", "XLA fuses on a GPU")
    return Choice("off", "compiling each length on a CPU takes longer than it saves")
