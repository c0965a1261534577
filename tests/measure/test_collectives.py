"""The ring model against a ring that is played step by step, the fit against numpy's, the forecast by hand."""

import itertools

import numpy as np
import pytest

from course_utils.measure.collectives import (
    LINKS,
    Link,
    Messages,
    fit_link,
    forecast,
    misfit,
    step_s,
    time_messages,
)

SIZES = [4**power for power in range(5, 13)]


def played_ring(values, alpha_s, bytes_per_s):
    """Do an all-reduce in a ring, part by part; -> (what each holds in the end, seconds of the steps)."""
    n, seconds = len(values), 0.0
    parts = [np.split(value.copy(), n) for value in values]
    for adding, step in itertools.product((True, False), range(n - 1)):
        sent = []
        for rank in range(n):
            which = (rank - step + (not adding)) % n
            sent.append((which, parts[rank][which].copy()))
        seconds += alpha_s + max(part.nbytes for _, part in sent) / bytes_per_s
        for rank, (which, part) in enumerate(sent):
            there = parts[(rank + 1) % n]
            there[which] = there[which] + part if adding else part
    return [np.concatenate(part) for part in parts], seconds


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_the_model_takes_as_long_as_a_ring_that_is_played(n):
    values = list(np.random.default_rng(n).integers(0, 100, (n, 24)).astype(np.float64))
    held, seconds = played_ring(values, 2e-6, 1e8)
    assert all(np.array_equal(one, sum(values)) for one in held)
    assert Link("made", 2e-6, 1e8).all_reduce_s(values[0].nbytes, n) == pytest.approx(seconds)


def test_a_ring_refuses_what_is_no_ring():
    with pytest.raises(ValueError, match="n must be at least 1 and nbytes at least 0, got n=0"):
        LINKS["NVLink 4"].all_reduce_s(10, 0)


def test_every_link_says_where_its_numbers_come_from():
    for name, link in LINKS.items():
        assert link.name == name
        assert link.source
    assert LINKS["InfiniBand NDR"].bytes_per_s == pytest.approx(400e9 / 8)
    assert LINKS["Ethernet 25G"].bytes_per_s == pytest.approx(25e9 / 8)


@pytest.mark.parametrize(("n", "alpha_s", "bytes_per_s"), [(2, 4e-5, 1e9), (8, 1e-5, 2.5e10), (1024, 1e-5, 5e10)])
def test_a_fit_finds_the_link_that_made_the_times(n, alpha_s, bytes_per_s):
    made = {nbytes: 2 * (n - 1) * alpha_s + 2 * (n - 1) / n * nbytes / bytes_per_s for nbytes in SIZES}
    found = fit_link(made, n)
    assert found.alpha_s == pytest.approx(alpha_s, rel=1e-6)
    assert found.bytes_per_s == pytest.approx(bytes_per_s, rel=1e-6)
    assert misfit(found, made, n) == pytest.approx(1.0)


def test_a_fit_of_noisy_times_is_numpys_with_relative_weights():
    noise = np.random.default_rng(0).uniform(0.8, 1.25, len(SIZES))
    seconds = (2 * 4e-5 + np.array(SIZES) / 1e9) * noise
    slope, constant = np.polyfit(SIZES, seconds, 1, w=1 / seconds)
    found = fit_link(dict(zip(SIZES, seconds, strict=True)), 2)
    assert found.alpha_s == pytest.approx(constant / 2, rel=1e-6)
    assert found.bytes_per_s == pytest.approx(1 / slope, rel=1e-6)


def test_a_latency_is_never_negative():
    """Times through the origin and below it: the plain line would start below zero."""
    assert fit_link({1000: 1e-6, 2000: 3e-6, 4000: 7e-6}, 2).alpha_s == 0


@pytest.mark.parametrize(
    ("seconds", "n", "complaint"),
    [
        ({1024: 1.0}, 2, "a fit takes 2 sizes"),
        ({1024: 1.0, 2048: 2.0}, 1, "and n=1"),
        ({1024: 0.0, 2048: 2.0}, 2, "positive times"),
        ({1024: 2.0, 2048: 1.0}, 2, "do not grow with the message"),
    ],
)
def test_times_that_cannot_be_fitted_are_refused(seconds, n, complaint):
    with pytest.raises(ValueError, match=complaint):
        fit_link(seconds, n)


class Wire:
    """A link that can be timed: each message takes 10 us and a second for 1e9 bytes; waiting takes a second."""

    def __init__(self, slower=1.0):
        self.now, self.sent, self.waited, self.slower = 0.0, [], 0, slower

    def send(self, nbytes):
        self.sent.append(nbytes)
        self.now += self.slower * (1e-5 + nbytes / 1e9)

    def wait(self):
        self.waited += 1
        self.now += 1.0


def timed(wire, **options):
    return time_messages(wire.send, [1024, 4**11], ready=wire.wait, clock=lambda: wire.now, **options)


def test_messages_take_what_the_wire_takes_and_waiting_for_others_is_not_counted():
    wire = Wire()
    samples = timed(wire, rounds=4, warmup=1)
    for nbytes, found in samples.items():
        assert found == pytest.approx([1e-5 + nbytes / 1e9] * 4)
    assert wire.waited == 2 * 5


def test_how_often_is_sent_does_not_depend_on_the_time_it_takes():
    """Processes that counted for themselves would wait for one another for ever."""
    wires = [Wire(), Wire(slower=1000.0)]
    for wire in wires:
        timed(wire, rounds=3)
    assert wires[0].sent == wires[1].sent
    assert wires[0].sent.count(1024) > wires[0].sent.count(4**11) == 6


def test_sizes_and_rounds_are_checked():
    for sizes, rounds in (([], 3), ([0], 3), ([8], 0)):
        with pytest.raises(ValueError, match="sizes must be bytes"):
            time_messages(lambda nbytes: None, sizes, rounds=rounds)


def test_a_link_carries_the_rings_share_of_the_message():
    messages = Messages(4, {1_000_000: [1e-3, 3e-3, 2e-3], 4_000_000: [8e-3, 8e-3, 8e-3]})
    assert messages.seconds == {1_000_000: 2e-3, 4_000_000: 8e-3}
    assert messages.bus_bytes_per_s(1_000_000) == pytest.approx(1.5 * 1e6 / 2e-3)
    assert "4 processes; fitted" in str(messages)
    assert "750 MB/s" in str(messages)


def test_a_step_waits_for_what_does_not_fit_beside_its_compute():
    assert step_s(0.3, 0.1, 0.5) == 0.3
    assert step_s(0.3, 0.5, 0.5) == pytest.approx(0.65)
    assert step_s(0.3, 0.2, 0.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"hidden must be a share of the compute from 0 to 1, got 1\.5"):
        step_s(0.3, 0.2, 1.5)


def test_a_forecast_by_hand():
    """Per process 0.1 s of compute; an exchange of 1 GB among 4 over 10 GB/s: six steps, each 1 ms and 25 ms."""
    link = Link("made", 1e-3, 1e10)
    made = forecast(link, [1, 4], batch=10, image_s=0.01, nbytes=1e9, hidden=0.5)
    exchange = 6 * (1e-3 + 0.025)
    assert made.weak(4) == pytest.approx(0.1 / (0.1 + exchange - 0.05))
    assert made.strong(4) == pytest.approx(0.025 / (0.025 + exchange - 0.0125))
    assert made.weak(1) == made.strong(1) == 1.0
    said = str(made)
    assert "Modelled, not measured" in said
    for assumption in ("1.00 ms a message", "beside 50% of the compute", "10.0 ms an image", "10 images a process"):
        assert assumption in said


def test_where_everything_is_hidden_efficiency_is_whole_and_falls_with_latency_alone():
    made = forecast(LINKS["InfiniBand NDR"], [2, 1024], batch=128, image_s=1e-4, nbytes=1e6)
    assert made.weak(2) == 1.0
    assert made.weak(1024) < 1.0
    assert made.strong(1024) < made.weak(1024)


def test_a_forecast_of_nothing_is_refused():
    for wrong in ({"ns": []}, {"ns": [0]}, {"batch": 0}, {"image_s": 0.0}, {"nbytes": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            forecast(LINKS["NVLink 4"], **{"ns": [2], "batch": 1, "image_s": 1.0, "nbytes": 1.0, **wrong})
    with pytest.raises(ValueError, match="hidden must be a share"):
        forecast(LINKS["NVLink 4"], [2], batch=1, image_s=1.0, nbytes=1.0, hidden=-0.1)


def test_times_that_do_not_grow_are_shown_without_a_fit():
    shown = str(Messages(2, {1024: [0.002], 2**20: [0.001]}))
    assert "the times do not grow with the message" in shown
    assert "2.00 ms" in shown
