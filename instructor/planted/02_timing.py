# %% [markdown]
# # Planted answers of `02_timing`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="02.timer" case="never-synchronized" points=0
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    fn()
    durations = []
    for _ in range(21):
        start = clock()
        fn()
        durations.append(clock() - start)
    return sorted(durations)[10]


# %% answer="02.timer" case="mean-of-calls" points=0
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    fn()
    durations = []
    for _ in range(21):
        synchronize()
        start = clock()
        fn()
        synchronize()
        durations.append(clock() - start)
    return sum(durations) / len(durations)


# %% answer="02.timer" case="one-long-stretch" points=0
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    fn()
    synchronize()
    start = clock()
    for _ in range(21):
        fn()
    synchronize()
    return (clock() - start) / 21


# %% answer="02.timer" case="clock-on-the-wall" points=0
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    durations = []
    for _ in range(21):
        synchronize()
        start = time.perf_counter()
        fn()
        synchronize()
        durations.append(time.perf_counter() - start)
    return sorted(durations)[10]


# %% answer="02.timer" case="first-call-alone" points=0
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    synchronize()
    start = clock()
    fn()
    synchronize()
    return clock() - start


# %% answer="02.timer" case="many-calls-and-tensor-median" points=3
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    for _ in range(3):
        fn()
    durations = torch.empty(51, dtype=torch.float64)
    for i in range(51):
        synchronize()
        before = clock()
        fn()
        synchronize()
        durations[i] = clock() - before
    return durations.median()


# %% answer="02.timer" case="median-without-warm-up" points=3
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    times = []
    while len(times) < 25:
        synchronize()
        times.append(-clock())
        fn()
        synchronize()
        times[-1] += clock()
    times.sort()
    return times[len(times) // 2]


# %% answer="02.suspects" case="wall-time-compared" points=0
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    names, pairs = list(rows), []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if abs(rows[a][0] - rows[b][0]) <= tolerance * max(rows[a][0], rows[b][0]):
                pairs.append((a, b))
    return pairs


# %% answer="02.suspects" case="tolerance-in-seconds" points=0
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    names = list(rows)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if abs(rows[a][1] - rows[b][1]) <= tolerance]


# %% answer="02.suspects" case="neighbours-only" points=0
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    names, pairs = list(rows), []
    for a, b in zip(names, names[1:]):
        if abs(rows[a][1] - rows[b][1]) <= tolerance * max(rows[a][1], rows[b][1]):
            pairs.append((a, b))
    return pairs


# %% answer="02.suspects" case="each-with-itself" points=0
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    pairs = []
    for a in rows:
        for b in rows:
            if abs(rows[a][1] - rows[b][1]) <= tolerance * max(rows[a][1], rows[b][1]):
                pairs.append((a, b))
    return pairs


# %% answer="02.suspects" case="of-the-smaller" points=0
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    names, pairs = list(rows), []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if abs(rows[a][1] - rows[b][1]) <= tolerance * min(rows[a][1], rows[b][1]):
                pairs.append((a, b))
    return pairs


# %% answer="02.suspects" case="sorted-by-time" points=2
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    ordered = sorted(rows, key=lambda name: rows[name][1])
    pairs = []
    for i, b in enumerate(ordered):
        for a in ordered[:i]:
            if rows[b][1] - rows[a][1] <= tolerance * rows[b][1]:
                pairs.append([a, b])
    return pairs


# %% answer="02.suspects" case="isclose" points=2
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    from itertools import combinations
    from math import isclose

    return {(a, b) for a, b in combinations(rows, 2) if isclose(rows[a][1], rows[b][1], rel_tol=tolerance)}
