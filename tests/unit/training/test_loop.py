from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clue_runner.config.schema import Run
from clue_runner.console.signals import Signals
from clue_runner.errors import InterruptedRunError, NotFiniteError, OutOfMemoryError, StorageError
from clue_runner.runs.events import AnyEvent, Warned
from clue_runner.runs.progress import Progress
from clue_runner.training import smaller_updates
from clue_runner.training.loop import Hooks, Loop, total_updates


@dataclass
class Bench:
    """A loop with everything around it recorded."""

    fake: SimpleNamespace
    run: Run
    scores: list[float]
    progress: Progress = field(default_factory=Progress)
    engine: Any = None
    saved: list[tuple[dict[str, Any], bool, dict[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda name, fields: None
    on_evaluate: Callable[[], None] = lambda: None
    on_settle: Callable[[bool], None] = lambda wait: None
    now: float = 0.0
    batches: Any = None

    def __post_init__(self) -> None:
        self.engine = self.engine or self.fake.Engine()
        self.signals = Signals(lambda text: None)

    def evaluate(self) -> Any:
        self.on_evaluate()
        # The score follows from the step, so that a resumed run sees the same ones.
        return self.fake.Scores(self.scores[len(self.progress.history)], {"accuracy": 1.0})

    def save(self, progress: Progress, best: bool) -> None:
        assert self.engine.unread == 0, "saved before every update was read"
        self.saved.append((progress.to_json(), best, self.engine.get_state()))

    def event(self, event: AnyEvent) -> None:
        fields = event.model_dump(exclude_unset=True)
        self.events.append((event.event, fields))
        self.on_event(event.event, fields)

    def reload(self) -> Progress:
        if not self.saved:
            self.engine.set_state(self.fake.Engine().get_state())
            return Progress()
        state, _, tensors = self.saved[-1]
        self.engine.set_state(tensors)
        return Progress.from_json(state)

    def go(self) -> Progress:
        hooks = Hooks(
            self.evaluate,
            self.save,
            self.event,
            lambda progress, shown: None,
            warn=lambda text, **fields: self.event(Warned(message=text, **fields)),
            reload=self.reload,
            settle_save=lambda *, wait: self.on_settle(wait),
        )

        def clock() -> float:
            self.now += 1.0
            return self.now

        batches = self.batches or self.fake.Batches(4)
        loop = Loop(self.engine, batches, self.run.train, self.progress, hooks, self.signals, clock)
        smaller_updates.train(loop)
        return self.progress


@pytest.fixture
def bench(fake: SimpleNamespace, make_run: Callable[..., Run]) -> Callable[..., Bench]:
    def make(*overrides: str, scores: list[float] | None = None, **fields: Any) -> Bench:
        run = make_run("train.epochs=3", "train.save_minutes=1000", *overrides)
        return Bench(fake, run, scores or [50.0, 60.0, 55.0, 70.0, 71.0, 72.0], **fields)

    return make


def test_epochs_evaluations_and_the_best(bench: Callable[..., Bench]) -> None:
    one = bench()
    progress = one.go()
    assert (progress.step, progress.epoch, progress.position, progress.ended) == (12, 3, 0, "epochs")
    assert [(entry["step"], entry["epoch"], entry["score"]) for entry in progress.history] == [
        (4, 1, 50.0),
        (8, 2, 60.0),
        (12, 3, 55.0),
    ]
    assert (progress.best_step, progress.best_epoch, progress.best_score) == (8, 2, 60.0)
    assert [(state["step"], best) for state, best, _ in one.saved] == [(4, True), (8, True), (12, False)]
    assert progress.examples == 24
    assert (progress.real_tokens, progress.computed_tokens) == (60, 96)
    assert progress.history[0]["loss"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert one.engine.most_unread == 2


def test_of_equal_scores_the_earlier_is_best(bench: Callable[..., Bench]) -> None:
    assert bench(scores=[60.0, 60.0, 60.0]).go().best_step == 4


def test_max_steps_ends_inside_an_epoch_with_an_evaluation(bench: Callable[..., Bench]) -> None:
    progress = bench("train.max_steps=6").go()
    assert (progress.step, progress.ended, progress.epoch) == (6, "max_steps", 1)
    assert [entry["step"] for entry in progress.history] == [4, 6]


def test_evaluate_steps_replaces_the_epochs_end(bench: Callable[..., Bench]) -> None:
    progress = bench("train.evaluate_steps=5").go()
    assert [entry["step"] for entry in progress.history] == [5, 10, 12]


def test_patience_counts_evaluations_without_gain(bench: Callable[..., Bench]) -> None:
    progress = bench("train.epochs=6", "train.patience=2", scores=[50.0, 60.0, 55.0, 60.0, 99.0]).go()
    assert (progress.ended, progress.step, progress.best_step) == ("patience", 16, 8)


def test_a_null_patience_never_ends(bench: Callable[..., Bench]) -> None:
    progress = bench("train.epochs=4", "train.patience=null", scores=[9.0, 8.0, 7.0, 6.0]).go()
    assert (progress.ended, progress.step) == ("epochs", 16)


def test_periodic_saves_by_step_and_by_clock(bench: Callable[..., Bench]) -> None:
    one = bench("train.save_steps=5")
    one.go()
    assert [state["step"] for state, _, _ in one.saved] == [4, 5, 8, 10, 12]
    by_clock = bench("train.save_minutes=0.2")
    by_clock.go()
    assert {4, 8, 12} < {state["step"] for state, _, _ in by_clock.saved}


@pytest.mark.parametrize("stop_after", range(13))
def test_resumed_from_any_step_ends_bit_equal(bench: Callable[..., Bench], stop_after: int) -> None:
    """Stop by a signal after each step in turn; go on in another loop with the saved state."""
    unbroken = bench("train.evaluate_steps=5")
    unbroken.go()

    first = bench("train.evaluate_steps=5")
    first.on_event = lambda name, fields: (
        setattr(first.signals, "requested", 15) if name == "step" and fields["step"] == stop_after else None
    )
    if stop_after == 0:
        first.signals.requested = 15
    if stop_after <= 10:
        with pytest.raises(InterruptedRunError) as caught:
            first.go()
        assert caught.value.exit_code == 143
    else:  # updates are read late, the last two at the end: nothing is left to stop
        first.go()
    assert bool(first.saved) is (stop_after > 0)
    second = bench("train.evaluate_steps=5")
    if first.saved:
        state, _, tensors = first.saved[-1]
        second.progress = Progress.from_json(state)
        second.engine.set_state(tensors)
    second.go()

    assert np.array_equal(second.engine.weights, unbroken.engine.weights)
    assert np.array_equal(second.engine.moments, unbroken.engine.moments)
    before, after = unbroken.progress.to_json(), second.progress.to_json()
    assert before.pop("seconds").keys() == after.pop("seconds").keys() == {"compile", "train"}
    assert before == after


def test_a_signal_in_an_evaluation_saves_the_state_before_it(bench: Callable[..., Bench]) -> None:
    def interrupt() -> None:
        one.signals.requested = 2
        one.signals.check()

    one = bench()
    one.on_evaluate = interrupt
    with pytest.raises(InterruptedRunError) as caught:
        one.go()
    assert caught.value.exit_code == 130
    state = one.saved[-1][0]
    assert (state["step"], state["position"], state["history"]) == (4, 4, [])

    again = bench(progress=Progress.from_json(state))
    again.engine.set_state(one.saved[-1][2])
    again.go()
    unbroken = bench()
    unbroken.go()
    assert [entry["step"] for entry in again.progress.history] == [4, 8, 12]
    assert again.progress.history == unbroken.progress.history
    assert np.array_equal(again.engine.weights, unbroken.engine.weights)


def test_a_signal_inside_a_save_waits_for_its_end(bench: Callable[..., Bench]) -> None:
    def interrupt(progress: Progress, best: bool) -> None:
        if one.signals.requested is None:
            one.signals.take(signal.SIGTERM)  # as the watching thread does, whatever the loop is at
        whole(progress, best)

    one = bench("train.save_steps=2")
    one.signals.defer()
    whole, one.save = one.save, interrupt  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError) as caught:
        one.go()
    assert caught.value.exit_code == 143
    assert [state["step"] for state, _, _ in one.saved][0] == 2

    again = bench("train.save_steps=2", progress=Progress.from_json(one.saved[-1][0]))
    again.engine.set_state(one.saved[-1][2])
    again.go()
    unbroken = bench("train.save_steps=2")
    unbroken.go()
    assert again.progress.history == unbroken.progress.history
    assert np.array_equal(again.engine.weights, unbroken.engine.weights)


def test_not_a_number_names_step_epoch_and_last_good_loss_and_saves_nothing(
    bench: Callable[..., Bench],
) -> None:
    one = bench("train.save_steps=1")
    one.engine.not_finite_at = 5
    with pytest.raises(NotFiniteError, match=r"step 6, epoch 2 \(last finite loss: 0\.2\)") as caught:
        one.go()
    assert caught.value.exit_code == 6
    assert max(state["step"] for state, _, _ in one.saved) == 5


def test_not_a_number_in_the_first_update(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.engine.not_finite_at = 0
    with pytest.raises(NotFiniteError, match="none"):
        one.go()
    assert one.saved == []


def test_a_refused_save_stops_the_run(bench: Callable[..., Bench]) -> None:
    one = bench("train.save_steps=2")

    def refuse(progress: Progress, best: bool) -> None:
        raise PermissionError("no")

    one.save = refuse  # type: ignore[method-assign]
    with pytest.raises(PermissionError):
        one.go()


def test_a_save_that_fails_later_stops_the_run_at_the_next_boundary(bench: Callable[..., Bench]) -> None:
    """The thread fails while update 6 is computed; no further one is begun, nor an evaluation."""
    one = bench("train.save_steps=5")

    def fail(wait: bool) -> None:
        assert not wait
        if one.engine.updates == 6:
            raise StorageError("No space left on device")

    one.on_settle = fail
    with pytest.raises(StorageError, match="No space left"):
        one.go()
    assert one.engine.updates == 6
    assert [state["step"] for state, _, _ in one.saved] == [4, 5]


@pytest.mark.parametrize("where", ["between updates", "in an evaluation"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_signal_leaves_when_the_state_is_whole(
    bench: Callable[..., Bench], where: str, whole: bool
) -> None:
    """What says that the state is saved has waited for it; if it could not be, that is the error."""
    one = bench()
    order: list[str] = []

    def interrupt() -> None:
        one.signals.requested = signal.SIGTERM
        if where == "in an evaluation":
            one.signals.check()

    def settle(wait: bool) -> None:
        if wait:
            order.append(f"waited for {one.saved[-1][0]['step']}")
            if not whole:
                raise StorageError("No space left on device")

    one.on_evaluate, one.on_settle = interrupt, settle
    with pytest.raises(InterruptedRunError if whole else StorageError) as caught:
        one.go()
    assert caught.value.exit_code == (143 if whole else 8)
    assert order == ["waited for 4"]


def test_an_ended_run_does_nothing(bench: Callable[..., Bench]) -> None:
    one = bench(progress=Progress(step=12, epoch=3, ended="epochs"))
    one.go()
    assert one.events == []
    assert one.saved == []


def test_signals_are_deferred_only_after_the_first_update(bench: Callable[..., Bench]) -> None:
    one = bench()
    order: list[str] = []
    one.signals.defer = lambda: order.append("defer")  # type: ignore[method-assign]
    real = one.engine.step

    def step(*arguments: Any, **options: Any) -> Any:
        order.append("step")
        return real(*arguments, **options)

    one.engine.step = step
    one.go()
    assert order[:3] == ["step", "defer", "step"]


def test_total_updates(make_run: Callable[..., Run]) -> None:
    assert total_updates(make_run("train.epochs=3").train, 10) == 30
    assert total_updates(make_run("train.epochs=3", "train.max_steps=7").train, 10) == 7
    assert total_updates(make_run("train.epochs=3", "train.max_steps=99").train, 10) == 30


def test_compilation_is_counted_apart(bench: Callable[..., Bench]) -> None:
    seconds = bench().go().seconds
    assert seconds["compile"] == 1.0
    assert seconds["train"] > 0


class Splitting:
    """Updates of 8 rows of 4 tokens, cut into micro-batches by the token budget."""

    def plan(self, epoch: int) -> list[Any]:
        return [np.array([number]) for number in range(4)]

    def shape(self, epoch: int, indices: Any, token_budget: int | None = None) -> tuple[int, int, int]:
        rows = max(1, min(8, (token_budget or 32) // 4))
        return 8 // rows, rows, 4

    def arrays(self, epoch: int, indices: Any, token_budget: int | None = None) -> Mapping[str, Any]:
        shape = self.shape(epoch, indices, token_budget)
        return {
            "token_ids": np.full(shape, 100 * epoch + int(indices[0]), np.int32),
            "lengths": np.full(shape[:2], 3, np.int32),
            "weight": np.ones(shape[:2], np.float32),
        }


class NoRoom(Splitting):
    """Batches whose arrays cannot be laid out from some update on; their shape can always be told."""

    def __init__(self, since: int, failures: int) -> None:
        self.left, self.failures = since, failures

    def arrays(self, epoch: int, indices: Any, token_budget: int | None = None) -> Mapping[str, Any]:
        self.left -= 1
        if self.left < 0 and self.failures > 0:
            self.failures -= 1
            raise MemoryError("no room for the arrays")
        return super().arrays(epoch, indices, token_budget)


class Tight:
    """An engine whose memory holds so many tokens at a time; it fails at the call or at the reading."""

    def __init__(self, fake: SimpleNamespace, tokens: int, how: str) -> None:
        self.tokens, self.how, self.broken = tokens, how, False
        self.inner = fake.Engine()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def applied(self) -> int | None:
        return None if self.broken else self.inner.applied()

    def set_state(self, state: Any) -> None:
        self.broken = False
        self.inner.set_state(state)

    def step(self, update: Mapping[str, Any], **options: Any) -> Any:
        _, rows, length = update["token_ids"].shape
        if rows * length <= self.tokens and not self.broken:
            return self.inner.step(update, **options)
        if self.how != "intact":
            self.broken = True
        if self.how == "late":
            return self._late
        raise MemoryError("no room")

    def _late(self) -> Any:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes.")


@pytest.mark.parametrize("how", ["intact", "broken", "late"])
@pytest.mark.parametrize("saved", [True, False])
def test_out_of_memory_halves_the_micro_batches_and_loses_no_update(
    bench: Callable[..., Bench], fake: SimpleNamespace, how: str, saved: bool
) -> None:
    """Memory shrinks in the second epoch; the result is that of a run that was split from there on."""
    settings = [] if saved else ["train.evaluate_steps=100"]
    whole = bench(*settings, batches=Splitting())
    whole.go()
    one = bench(*settings, batches=Splitting(), engine=Tight(fake, 32, how))

    def shrink(name: str, fields: Mapping[str, Any]) -> None:
        if name == "step" and fields["step"] == 5:
            one.engine.tokens = 8

    one.on_event = shrink
    progress = one.go()
    warnings = [fields for name, fields in one.events if name == "warning"]
    assert [fields["token_budget"] for fields in warnings] == [16, 8]
    assert warnings[0]["step"] == (6 if how == "intact" else 4 if saved else 0)
    assert progress.token_budget == 8
    assert (progress.step, progress.examples, progress.ended) == (12, 96, "epochs")
    assert progress.history == whole.progress.history
    assert one.saved[-1][0]["token_budget"] == 8
    assert one.engine.applied() == 12

    again = bench(
        *settings, batches=Splitting(), engine=Tight(fake, 8, how), progress=Progress(token_budget=8)
    )
    again.go()
    assert [name for name, _ in again.events].count("warning") == 0


def test_one_example_that_does_not_fit_ends_the_run(
    bench: Callable[..., Bench], fake: SimpleNamespace
) -> None:
    one = bench(batches=Splitting(), engine=Tight(fake, 3, "broken"))
    with pytest.raises(OutOfMemoryError, match="one example of 4 tokens at a time") as caught:
        one.go()
    assert caught.value.exit_code == 7
    assert [fields["token_budget"] for _, fields in one.events] == [16, 8, 4]
    assert one.saved == []


@pytest.mark.parametrize("since", [0, 3, 4])
def test_arrays_that_cannot_be_laid_out_end_the_run(bench: Callable[..., Bench], since: int) -> None:
    """One halving where an update is under way, whose memory may be what is missing; then the error."""
    one = bench(batches=NoRoom(since, failures=99))
    with pytest.raises(MemoryError, match="no room for the arrays"):
        one.go()
    assert [fields["token_budget"] for name, fields in one.events if name == "warning"] == [16] * (since == 3)


def test_arrays_that_can_be_laid_out_once_nothing_is_under_way(bench: Callable[..., Bench]) -> None:
    whole, one = bench(batches=Splitting()), bench(batches=NoRoom(3, failures=1))
    assert one.go().history == whole.go().history
    assert one.progress.token_budget == 16


def test_memory_that_runs_out_in_a_save_is_not_taken_for_a_step(bench: Callable[..., Bench]) -> None:
    one = bench()

    def refuse(progress: Progress, best: bool) -> None:
        raise MemoryError("in the save")

    one.save = refuse  # type: ignore[method-assign]
    with pytest.raises(MemoryError, match="in the save"):
        one.go()
