# %% [markdown]
# # Planted answers of `22_scaling`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="22.ring_s" case="one-way-round" points=0
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    return (n - 1) * (alpha_s + nbytes / (n * bytes_per_s))


# %% answer="22.ring_s" case="whole-message-a-step" points=0
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    return 2 * (n - 1) * (alpha_s + nbytes / bytes_per_s)


# %% answer="22.ring_s" case="latency-once" points=0
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    return alpha_s + 2 * (n - 1) * nbytes / (n * bytes_per_s)


# %% answer="22.ring_s" case="n-steps" points=0
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    return 2 * n * (alpha_s + nbytes / (n * bytes_per_s))


# %% answer="22.ring_s" case="step-after-step" points=1
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    seconds = 0.0
    for _ in range(2 * (n - 1)):
        seconds += alpha_s + nbytes / n / bytes_per_s
    return seconds


# %% answer="22.ring_s" case="two-terms" points=1
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    return 2 * (n - 1) * alpha_s + np.float64(2 * (n - 1) / n) * nbytes / bytes_per_s


# %% answer="22.fit_ring" case="errors-not-weighed" points=0
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    slope, constant = np.polyfit(nbytes, seconds, 1)
    steps = 2 * (n - 1)
    return constant / steps, steps / n / slope


# %% answer="22.fit_ring" case="constant-taken-for-alpha" points=0
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    slope, constant = np.polyfit(nbytes, seconds, 1, w=1 / np.array(seconds))
    return constant, 2 * (n - 1) / n / slope


# %% answer="22.fit_ring" case="slope-taken-for-bandwidth" points=0
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    slope, constant = np.polyfit(nbytes, seconds, 1, w=1 / np.array(seconds))
    steps = 2 * (n - 1)
    return constant / steps, slope


# %% answer="22.fit_ring" case="coefficients-swapped" points=0
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    constant, slope = np.polyfit(nbytes, seconds, 1, w=1 / np.array(seconds))
    steps = 2 * (n - 1)
    return constant / steps, steps / n / slope


# %% answer="22.fit_ring" case="a-share-too-much" points=0
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    slope, constant = np.polyfit(nbytes, seconds, 1, w=1 / np.array(seconds))
    steps = 2 * (n - 1)
    return constant / steps, steps / slope


# %% answer="22.fit_ring" case="least-squares-by-hand" points=2
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    x, y = np.array(nbytes), np.array(seconds)
    steps = 2 * (n - 1)
    (alpha_s, each), *_ = np.linalg.lstsq(np.stack([steps / y, steps * x / n / y], axis=1), np.ones(len(y)), rcond=None)
    return [alpha_s, 1 / each]


# %% answer="22.fit_ring" case="polynomial-class" points=2
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    steps = 2 * (n - 1)
    line = np.polynomial.Polynomial.fit(nbytes, seconds, 1, w=1 / np.asarray(seconds)).convert()
    return float(line.coef[0]) / steps, steps / (n * float(line.coef[1]))


# %% answer="22.step_s" case="one-after-the-other" points=0
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    return compute_s + exchange_s


# %% answer="22.step_s" case="the-longer-one" points=0
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    return max(compute_s, exchange_s)


# %% answer="22.step_s" case="may-be-negative" points=0
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    return compute_s + exchange_s - hidden * compute_s


# %% answer="22.step_s" case="share-of-the-exchange" points=0
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    return compute_s + (1 - hidden) * exchange_s


# %% answer="22.step_s" case="two-lower-limits" points=1
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    return max(compute_s, (1 - hidden) * compute_s + exchange_s)


# %% answer="22.step_s" case="a-branch" points=1
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    beside_s = hidden * compute_s
    if exchange_s <= beside_s:
        return np.float64(compute_s)
    return compute_s + (exchange_s - beside_s)
