"""What NVIDIA's driver says of its GPUs, by the numbers that backends use."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.engines.devices import Device
from clue_runner.engines.gpus import Gpu, nvidia_gpus, visible_gpu_count
from clue_runner.memory.limits import free_bytes, free_gpu_bytes


class FakeDriver:
    """NVIDIA's library as ``pynvml`` shows it: GPUs by number and UUID, free bytes as their content."""

    class NVMLError(Exception):
        pass

    def __init__(self, gpus: dict[int | str, int], *, installed: bool = True) -> None:
        self.gpus, self.installed, self.open = gpus, installed, 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.installed:
            raise self.NVMLError("no library")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return sum(isinstance(name, int) for name in self.gpus)

    def nvmlDeviceGetHandleByIndex(self, name: Any) -> Any:  # noqa: N802
        if name not in self.gpus:
            raise self.NVMLError("no such GPU")
        return name

    nvmlDeviceGetHandleByUUID = nvmlDeviceGetHandleByIndex  # noqa: N815

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        return SimpleNamespace(total=100, free=self.gpus[handle])

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        return f"card {handle}"


def test_the_gpus_are_what_their_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver({0: 30, 1: 40})
    monkeypatch.setitem(sys.modules, "pynvml", driver)  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (free_gpu_bytes(1), free_gpu_bytes(2)) == (40, None)
    assert nvidia_gpus() == [Gpu("card 0", 100, 30), Gpu("card 1", 100, 40)]
    assert driver.open == 0
    driver.installed = False
    assert (free_gpu_bytes(1), nvidia_gpus()) == (None, [])


@pytest.mark.parametrize(
    ("visible", "index", "asked"),
    [(None, 1, 1), ("3,5", 1, 5), ("GPU-aa, GPU-bb", 0, "GPU-aa"), ("2", 1, None), ("", 0, None)],
)
def test_backends_count_the_visible_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, index: int, asked: int | str | None
) -> None:
    gpus: dict[int | str, int] = {} if asked is None else {asked: 7}
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver(gpus))  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert free_gpu_bytes(index) == (None if asked is None else 7)


def test_gpus_that_share_batches_have_the_room_of_the_fullest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver({0: 40, 1: 30, 2: 50}))  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpu_count() == 3
    found = [
        free_bytes(Device("gpu", first, "", 1, many)) for first, many in ((0, 1), (0, 3), (2, 1), (2, 2))
    ]
    assert found == [40, 30, 50, None]
