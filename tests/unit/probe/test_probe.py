"""The theorem's numbers by hand, the projection, and regret under the bound on a small convex problem."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from clue_runner.errors import UsageError
from clue_runner.probe.best import TOLERANCE, Best, best_point
from clue_runner.probe.bound import right_side, running_mean, slope
from clue_runner.probe.descent import descend, project
from clue_runner.probe.findings import Findings, compare
from clue_runner.probe.problem import GRADIENT, Problem, batches, centred, fold
from clue_runner.probe.schedules import USUAL, parse_schedule
from clue_runner.reports.log_chart import Pair, log_chart, sheet, value_range

STEPS = 120


@cache
def problem() -> Problem:
    """40 records of three labels, a fifth of them wrongly labelled, so that no weights fit all."""
    from scipy import sparse

    generator = np.random.default_rng(0)
    labels = np.arange(40) % 3
    table = generator.random((40, 30)) * (generator.random((40, 30)) < 0.3)
    table[np.arange(40), labels] += 1.0
    labels = np.where(generator.random(40) < 0.2, (labels + 1) % 3, labels)
    return Problem(fold(sparse.csr_matrix(table), 24), labels, 3, 4.0, batches(40, STEPS, 5, seed=1))


@cache
def best() -> Best:
    return best_point(problem())


@cache
def findings(text: str) -> Findings:
    schedule = parse_schedule(text)
    sizes = schedule.sizes(STEPS, problem().diameter, GRADIENT)
    return compare(problem(), best(), schedule, sizes, descend(problem(), sizes))


def reference(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same walk in float64, one record at a time, from the definition."""
    rows, radius = problem().rows.toarray().astype(np.float64), problem().radius
    weights, losses, norms = np.zeros((rows.shape[1], 3)), [], []
    for size, places in zip(sizes, problem().batches, strict=True):
        loss, gradient = 0.0, np.zeros_like(weights)
        for place in places:
            powers = np.exp(rows[place] @ weights)
            shares = powers / powers.sum()
            loss -= math.log(shares[problem().labels[place]]) / len(places)
            shares[problem().labels[place]] -= 1
            gradient += np.outer(rows[place], shares) / len(places)
        losses.append(loss)
        norms.append(np.linalg.norm(gradient))
        weights = weights - size * gradient
        weights *= min(1.0, radius / np.linalg.norm(weights))
    return np.array(losses), np.array(norms), weights


def test_right_hand_sides_by_hand() -> None:
    optimal = parse_schedule("optimal").sizes(100, 2.0, 1.0)
    assert optimal[0] == pytest.approx(0.2) and right_side(optimal, 2.0, 1.0)[-1] == pytest.approx(0.2)
    constant = parse_schedule("constant:0.1").sizes(100, 2.0, 1.0)
    assert right_side(constant, 2.0, 1.0)[-1] == pytest.approx(0.25)
    falling = parse_schedule("inverse-sqrt:1").sizes(100, 2.0, 1.0)
    assert falling.sum() == pytest.approx(18.589604, abs=1e-6)
    assert right_side(falling, 2.0, 1.0)[-1] == pytest.approx(0.292948, abs=1e-6)


def test_the_best_multiple_of_inverse_sqrt() -> None:
    # its closed form is sqrt 2 D G / sqrt T, and 1/sqrt t adds up to less than 2 sqrt T
    sizes = parse_schedule("inverse-sqrt").sizes(400, 3.0, 2.0)
    value = right_side(sizes, 3.0, 2.0)[-1]
    assert 0.95 * math.sqrt(2) * 3 * 2 / 20 < value < math.sqrt(2) * 3 * 2 / 20


def test_the_theorem_on_absolute_values() -> None:
    """f(w) = |w - x| with sign gradients in plain Python: the average regret against every fixed point."""
    points = np.random.default_rng(3).uniform(-1, 1, 200)
    sizes = parse_schedule("inverse-sqrt").sizes(200, 2.0, 1.0)
    place, losses = 0.0, []
    for size, x in zip(sizes, points, strict=True):
        losses.append(abs(place - x))
        place = min(1.0, max(-1.0, place - size * math.copysign(1.0, place - x)))
    bound = right_side(sizes, 2.0, 1.0)
    for fixed in np.linspace(-1, 1, 21):
        assert np.all(running_mean(np.array(losses)) - running_mean(np.abs(points - fixed)) <= bound)


def test_decays_end_where_they_say() -> None:
    for name in ("linear", "cosine"):
        sizes = parse_schedule(f"{name}:2:0.25").sizes(1000, 1.0, 1.0)
        assert sizes[0] == 2.0 and sizes[-1] == pytest.approx(0.5, abs=2e-3)
        assert np.all(np.diff(sizes) <= 0)
    # eta_T = rate / T, so that the first term is D^2 / (2 rate) however large T is
    first = right_side(parse_schedule("linear:5").sizes(2000, 10.0, 1.0), 10.0, 0.0)[-1]
    assert first == pytest.approx(10.0)
    first = right_side(parse_schedule("cosine:5").sizes(2000, 10.0, 1.0), 10.0, 0.0)[-1]
    assert first == pytest.approx(8106, abs=1)


def test_slope_of_a_power() -> None:
    counted = np.arange(1, 1001, dtype=np.float64)
    assert slope(3 * counted**-0.5) == pytest.approx(-0.5)
    assert slope(-counted) is None and slope(np.array([1.0])) is None


@pytest.mark.parametrize(
    "text",
    [
        "cosin",
        "",
        "constant:1e-300",
        "constant:0",
        "constant:x",
        "constant:nan",
        "constant:1:0.1",
        "optimal:1",
        "linear:1:2",
        "linear:1:0:3",
    ],
)
def test_schedules_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_schedule(text)
    assert caught.value.exit_code == 2 and "--schedule" in str(caught.value)


def test_projection_is_the_nearest_point_and_never_moves_away() -> None:
    from keras import ops

    generator = np.random.default_rng(5)
    for scale in (0.1, 1.0, 30.0):
        outside = (generator.normal(size=(7, 3)) * scale).astype(np.float32)
        inside = generator.normal(size=(7, 3))
        inside *= 2.0 / max(np.linalg.norm(inside), 2.0)
        found = np.asarray(ops.convert_to_numpy(project(ops.convert_to_tensor(outside), 2.0)))
        norm = np.linalg.norm(outside)
        np.testing.assert_allclose(found, outside * min(1.0, 2.0 / norm), rtol=1e-6)
        assert np.linalg.norm(found - inside) <= np.linalg.norm(outside - inside) + 1e-6
    zero = np.zeros((2, 2), np.float32)
    assert np.all(ops.convert_to_numpy(project(ops.convert_to_tensor(zero), 1.0)) == zero)


def test_folded_rows_have_norm_one_and_meet_every_record() -> None:
    from scipy import sparse

    rows = fold(sparse.csr_matrix(np.eye(4, 50)), 8).toarray()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    empty = fold(sparse.csr_matrix((1, 50)), 8).toarray()
    assert empty[0, -1] == 1.0 and not empty[0, :-1].any()  # no known n-gram: the constant alone
    places = batches(10, 4, 5, seed=0)
    assert sorted(places[:2].ravel()) == sorted(places[2:].ravel()) == list(range(10))


def test_dense_features_lose_their_mean_and_have_norm_one() -> None:
    vectors = np.array([[5.0, 1.0], [5.0, 3.0], [5.0, 2.0]], np.float32)
    rows = centred(vectors)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(rows, [[0, -half, half], [0, half, half], [0, 0, 1]], atol=1e-7)


def test_dense_and_sparse_rows_are_the_same_problem() -> None:
    sizes = parse_schedule("optimal").sizes(STEPS, problem().diameter, GRADIENT)
    dense = replace(problem(), rows=problem().rows.toarray())
    np.testing.assert_allclose(descend(dense, sizes).losses, descend(problem(), sizes).losses, atol=1e-6)
    assert best_point(dense).loss == pytest.approx(best().loss, abs=1e-7)


def test_the_steps_are_those_of_the_definition() -> None:
    """Float32 on either backend against float64 in NumPy: 1e-5 over 120 steps."""
    sizes = parse_schedule("constant:2").sizes(STEPS, problem().diameter, GRADIENT)
    losses, norms, weights = reference(sizes)
    trace = descend(problem(), sizes)
    assert np.linalg.norm(weights) == pytest.approx(problem().radius)  # the ball is reached
    np.testing.assert_allclose(trace.losses, losses, atol=1e-5)
    np.testing.assert_allclose(trace.gradient_norms, norms, atol=1e-5)
    np.testing.assert_allclose(trace.weights, weights, atol=1e-5)


def test_no_point_of_the_ball_is_better_than_the_best() -> None:
    from scipy.special import log_softmax

    assert best().gap <= TOLERANCE and best().norm == pytest.approx(problem().radius)
    rows, labels = problem().rows.toarray().astype(np.float64), problem().labels

    def loss(weights: np.ndarray) -> float:
        losses = -log_softmax(rows @ weights, axis=1)[np.arange(len(labels)), labels]
        return float(losses[problem().batches].mean())

    assert loss(best().weights) == pytest.approx(best().loss, abs=1e-12) == best().step_losses.mean()
    generator = np.random.default_rng(2)
    for scale in (0.01, 0.1, 1.0):
        other = best().weights + scale * generator.normal(size=best().weights.shape)
        other *= min(1.0, problem().radius / np.linalg.norm(other))
        assert loss(other) >= best().loss - best().gap


@pytest.mark.parametrize("text", ["constant", "inverse-sqrt", "optimal", "cosine::0.1"])
def test_regret_is_under_the_bound_after_every_step(text: str) -> None:
    found = findings(text)
    assert found.holds and np.all(found.regret <= found.bound_seen)
    assert np.all(found.seen <= GRADIENT) and found.regret[-1] > 0
    assert found.bound[-1] < GRADIENT * found.diameter


def test_a_bound_that_says_nothing_is_flagged() -> None:
    vacuous = {text: findings(text).vacuous for text in USUAL}
    assert vacuous["linear"] and vacuous["cosine"]
    assert not any(vacuous[text] for text in ("constant", "inverse-sqrt", "optimal", "linear::0.1"))
    assert findings("linear").holds  # the training is fine
    assert findings("constant:1e-4").vacuous  # above G D, which holds without any training


def test_charts_are_drawn_and_escaped() -> None:
    pair = Pair("<b>", [1.0, 0.5, -0.1, 0.2], [10.0, 5.0, 3.0, 2.0])
    assert value_range([pair]) == (0.1, 10.0)
    chart = ElementTree.fromstring(str(log_chart(pair, (0.1, 10.0), title="<a>", x_title="t")))
    lines = [one.attrib for one in chart if one.tag.endswith("polyline")]
    assert [one["class"] for one in lines] == ["bound", "line", "line"]  # cut where it is not above 0
    first, last = (tuple(map(float, one.split(","))) for one in lines[0]["points"].split()[::3])
    assert first == (46.0, 14.0) and last[0] == 348.0  # step 1 at the left, 10 at the top
    whole = ElementTree.fromstring(sheet([pair] * 4, title="x", note="y", x_title="t"))
    assert len([one for one in whole.iter() if one.tag.endswith("polyline")]) == 12
    assert json.loads(json.dumps(findings("optimal").lines()[0]))["step"] == 1
