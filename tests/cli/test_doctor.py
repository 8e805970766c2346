"""``clue doctor``: facts, a verdict, and a check for a GPU; backends are asked in child processes."""

import json
import time

import pytest

from clue_runner.cli import _machine

CPU = {"version": "1", "devices": ["cpu"], "error": None}
GPU = {"version": "1", "devices": ["gpu", "cpu"], "error": None}
ABSENT = {"version": None, "devices": [], "error": "not installed"}


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch):
    def use(tensorflow: dict[str, object], jax: dict[str, object]) -> None:
        monkeypatch.setattr(
            _machine, "probe_backends", lambda: {"tensorflow": dict(tensorflow), "jax": dict(jax)}
        )

    return use


def test_facts(clue, backends) -> None:
    backends(CPU, ABSENT)
    outcome = clue("doctor")
    assert outcome.exit_code == 0
    for expected in (
        "python ",
        "tensorflow   1 cpu",
        "jax          not installed",
        "cores",
        "free",
        "verdict      small",
    ):
        assert expected in outcome.stdout
    facts = json.loads(clue("doctor", "--json").stdout)
    assert (facts["event"], facts["ok"], facts["gpu"]) == ("result", True, False)
    assert facts["cores"] >= 1
    assert facts["versions"]["keras"]


def test_require_gpu(clue, backends) -> None:
    backends(CPU, ABSENT)
    without = clue("doctor", "--require", "gpu", "--json")
    assert without.exit_code == 2
    assert json.loads(without.stdout)["ok"] is False
    assert "no backend sees a GPU" in without.stderr
    backends(CPU, GPU)
    found = clue("doctor", "--require", "gpu", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["gpu"] is True


def test_no_backend_at_all(clue, backends) -> None:
    backends(ABSENT, ABSENT)
    outcome = clue("doctor")
    assert outcome.exit_code == 2
    assert "no backend works" in outcome.stderr


def test_probes_answer_fail_and_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "BACKEND_SECONDS", 3.0)
    monkeypatch.setattr(
        _machine,
        "PROBES",
        {
            "tensorflow": "print('noise');print('DEVICES[\"cuda\"]')",
            "jax": "raise RuntimeError('driver is broken')",
        },
    )
    monkeypatch.setattr(_machine, "find_spec", lambda name: object())
    found = _machine.probe_backends()
    assert found["tensorflow"]["devices"] == ["gpu"]
    assert found["jax"] == {
        "version": found["jax"]["version"],
        "devices": [],
        "error": "RuntimeError: driver is broken",
    }
    monkeypatch.setattr(_machine, "BACKEND_SECONDS", 0.3)
    monkeypatch.setattr(_machine, "PROBES", {"jax": "import time; time.sleep(60)"})
    start = time.monotonic()
    assert "no answer within" in _machine.probe_backends()["jax"]["error"]
    assert time.monotonic() - start < 10
