"""The checks of 21_data_parallel and 22_scaling: right answers pass, planted wrong ones are told in plain words."""

import numpy as np
import pytest
import torch
from asked_checks import assert_right, assert_wrong, run

from course_utils.classroom import check
from course_utils.classroom.checks import parallel

NAMES = ("whole_gradient", "shard", "ring_s", "fit_ring", "step_s")


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    for stub in (lambda *_: None, lambda *_: ..., ...):
        own, said = run(capsys, name, stub)
        assert "not answered yet" in said
        assert own is not stub
        assert_right(capsys, name, own)


def test_whole_gradient(capsys):
    def by_parts(gradients, sizes):
        """The same by repeating each gradient as often as its shard has images."""
        every = [one for one, size in zip(gradients, sizes, strict=True) for _ in range(size)]
        return torch.stack(every).mean(0)

    assert_right(capsys, "whole_gradient", by_parts)
    assert_wrong(capsys, "whole_gradient", lambda g, s: sum(g) / len(g), "a shard of 9 images counts three times")
    assert_wrong(capsys, "whole_gradient", lambda g, s: sum(g), "equal shards count equally")
    assert_wrong(capsys, "whole_gradient", lambda g, s: (g[0] * s[0] + g[1] * s[1]) / sum(s), "more than two shards")


def shuffled(n, seed):
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def test_shard(capsys):
    assert_right(capsys, "shard", lambda n, e, r, w: shuffled(n, 3 * e + 1).tolist()[r * (n // w) :][: n // w])
    assert_right(capsys, "shard", lambda n, e, r, w: np.random.default_rng(e).permutation(n)[: n // w * w][r::w])
    for slip, words in (
        (lambda n, e, r, w: shuffled(n, e)[r::w], "who has more keeps the others waiting"),
        (lambda n, e, r, w: shuffled(n, e + r)[: n // w], "all must cut one order, the same in every process"),
        (lambda n, e, r, w: torch.randperm(n)[r::w][: n // w], "all must cut one order"),
        (lambda n, e, r, w: shuffled(n, 0)[r::w][: n // w], "epochs 0 and 1 have the same order"),
        (lambda n, e, r, w: (torch.arange(n)[r::w] + e)[: n // w] % n, "shuffle them"),
        (lambda n, e, r, w: n + shuffled(n, e)[r::w][: n // w], "numbers beyond 0 to 11"),
    ):
        assert_wrong(capsys, "shard", slip, words)


def test_ring_s(capsys):
    assert_right(capsys, "ring_s", lambda s, n, a, b: sum(a + s / n / b for _ in range(2 * (n - 1))))
    assert_wrong(capsys, "ring_s", lambda s, n, a, b: 2 * (n - 1) * (a + s / b), "each with half the message")
    assert_wrong(capsys, "ring_s", lambda s, n, a, b: 2 * (n - 1) / n * s / b + a, "each step takes alpha_s")
    assert_wrong(capsys, "ring_s", lambda s, n, a, b: (n - 1) * (a + s / n / b), "two steps")


def by_lines(nbytes, seconds, n, weights=True):
    """Weighted least squares by the normal equations."""
    x, y = np.array(nbytes), np.array(seconds)
    w = 1 / y**2 if weights else np.ones_like(y)
    mean_x, mean_y = (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
    slope = (w * (x - mean_x) * (y - mean_y)).sum() / (w * (x - mean_x) ** 2).sum()
    return (mean_y - slope * mean_x) / 2 / (n - 1), 2 * (n - 1) / n / slope


def test_fit_ring(capsys):
    assert_right(capsys, "fit_ring", by_lines)
    assert_wrong(capsys, "fit_ring", lambda *given: by_lines(*given, weights=False), "weigh each error by its time")

    def of_two(nbytes, seconds, n):
        alpha_s, bytes_per_s = by_lines(nbytes, seconds, n)
        return alpha_s * (n - 1), bytes_per_s

    assert_wrong(capsys, "fit_ring", of_two, "the line's constant is 14 alpha_s, its slope 14 / 8")
    assert_wrong(capsys, "fit_ring", lambda *given: by_lines(*given)[0], "return 2 values: alpha_s, bytes_per_s")


def test_step_s(capsys):
    assert_right(capsys, "step_s", lambda c, e, h: max(c, c + e - h * c))
    assert_wrong(capsys, "step_s", lambda c, e, h: c + e - h * c, "it fits beside: the compute alone")
    assert_wrong(capsys, "step_s", lambda c, e, h: c + max(0, e - h), "what does not fit is waited for")
    assert_wrong(capsys, "step_s", lambda c, e, h: c + e, "it fits beside")


# ---- the worker: what two processes leave ----------------------------------------------------------------------------


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    """Ask the check about a worker whose two processes left `told`; the kit's own is not launched again."""
    path = tmp_path / "worker.py"

    def ask(told, text="pass\n"):
        path.write_text(text)
        monkeypatch.setattr(parallel, "launched", lambda path: right() if path.name == "kit_worker.py" else told)
        return check.worker(path)

    return ask


def right(parts=None, seen=None, weights=(1.0, 1.0)):
    """What two right processes leave, with slips on demand."""
    t = parallel.batch()[1].tolist()
    seen = seen or [t[::2], t[1::2]]
    parts = parts or parallel.reference_gradients()
    return [[seen[rank], [weights[rank] * part for part in parts]] for rank in range(2)]


def test_a_right_worker_hands_back_its_own_gradients(outcome, capsys):
    told = right()
    returned = outcome(told)
    assert "worker.py: right" in capsys.readouterr().out
    assert all(one is gradients for one, (_, gradients) in zip(returned, told, strict=True))


def test_wrong_workers_are_told_apart(outcome, capsys):
    t = parallel.batch()[1].tolist()
    for told, words in (
        ([right()[0], None], "process 1 has no gradients: is backward() called"),
        ([[[], [None]], [[], [None]]], "process 0 has no gradients"),
        (right(seen=[t, t]), "wanted each image in one"),
        (right(seen=[t[:5], t[5:]]), "[[0, 1, 2, 3, 4], [5, 6, 7]], wanted each image in one"),
        (right(weights=(1.0, 1.1)), "only calls of the module that DDP returns are averaged"),
        (right(weights=(2.0, 2.0)), "is it a mean, not a sum?"),
    ):
        returned = outcome(told)
        said = capsys.readouterr().out
        assert "worker.py: not right yet" in said
        assert words in said, said
        assert torch.equal(returned[0][0], parallel.reference_gradients()[0]), "the lesson goes on with the kit's own"


def test_a_worker_with_its_placeholder_is_not_answered_yet(outcome, capsys):
    returned = outcome(None, "x = 1\n...  # your code here, about 3 lines\n")
    assert "worker: not answered yet" in capsys.readouterr().out
    assert len(returned) == 2


def test_the_kits_own_worker_is_right_when_two_processes_run_it(capsys, tmp_path):
    path = tmp_path / "worker.py"
    path.write_text(parallel.KIT_WORKER)
    gradients = check.worker(path)
    said = capsys.readouterr().out
    assert "$ OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node=2 worker.py" in said
    assert "worker.py: right" in said, said
    whole = torch.cat([part.flatten() for part in parallel.reference_gradients()])
    torch.testing.assert_close(torch.cat([part.flatten() for part in gradients[1]]), whole, rtol=1e-3, atol=1e-5)


def test_a_worker_that_crashes_is_told_by_its_own_words(capsys, tmp_path, monkeypatch):
    path = tmp_path / "worker.py"
    path.write_text("raise RuntimeError('the planted crash')\n")
    launched = parallel.launched
    monkeypatch.setattr(parallel, "launched", lambda path: launched(path) if path.parent == tmp_path else right())
    check.worker(path)
    said = capsys.readouterr().out
    assert "it raised RuntimeError: torchrun ended with status 1" in said
    assert "the planted crash" in said
