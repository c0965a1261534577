# %% [markdown]
# # Planted answers of `23_gpus_compared`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="23.step_time" case="added-up" points=0
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    seconds = {
        "compute": work.flop / limits.flop_per_s,
        "memory": work.bytes_moved / limits.bytes_per_s,
        "launch": work.kernels * limits.launch_s,
    }
    return sum(seconds.values()), max(seconds, key=seconds.get)


# %% answer="23.step_time" case="the-fastest" points=0
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    seconds = {
        "compute": work.flop / limits.flop_per_s,
        "memory": work.bytes_moved / limits.bytes_per_s,
        "launch": work.kernels * limits.launch_s,
    }
    fastest = min(seconds, key=seconds.get)
    return seconds[fastest], fastest


# %% answer="23.step_time" case="launches-forgotten" points=0
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    compute_s, memory_s = work.flop / limits.flop_per_s, work.bytes_moved / limits.bytes_per_s
    return max(compute_s, memory_s), "compute" if compute_s > memory_s else "memory"


# %% answer="23.step_time" case="one-launch" points=0
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    seconds = {
        "compute": work.flop / limits.flop_per_s,
        "memory": work.bytes_moved / limits.bytes_per_s,
        "launch": limits.launch_s,
    }
    slowest = max(seconds, key=seconds.get)
    return seconds[slowest], slowest


# %% answer="23.step_time" case="pairs-compared" points=2
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    compute = work.flop / limits.flop_per_s, "compute"
    memory = work.bytes_moved / limits.bytes_per_s, "memory"
    return max(compute, memory, (limits.launch_s * work.kernels, "launch"))


# %% answer="23.step_time" case="a-tensor-of-three" points=2
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    words = ["launch", "memory", "compute"]
    times = [work.kernels * limits.launch_s, work.bytes_moved / limits.bytes_per_s, work.flop / limits.flop_per_s]
    slowest = torch.tensor(times, dtype=torch.float64).max(0)
    return [slowest.values, words[slowest.indices]]


# %% answer="23.traffic" case="all-by-the-batch" points=0
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    per_image = large.bytes_moved / large.batch
    fixed = 0.0
    return fixed, per_image


# %% answer="23.traffic" case="small-taken-for-fixed" points=0
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    per_image = (large.bytes_moved - small.bytes_moved) / (large.batch - small.batch)
    fixed = small.bytes_moved
    return fixed, per_image


# %% answer="23.traffic" case="returned-the-other-way" points=0
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    fixed = (large.bytes_moved - small.bytes_moved) / (large.batch - small.batch)
    per_image = small.bytes_moved - fixed * small.batch
    return fixed, per_image


# %% answer="23.traffic" case="difference-not-divided" points=0
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    per_image = large.bytes_moved - small.bytes_moved
    fixed = small.bytes_moved - per_image * small.batch
    return fixed, per_image


# %% answer="23.traffic" case="two-equations" points=1
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    equations = torch.tensor([[1, small.batch], [1, large.batch]], dtype=torch.float64)
    moved = torch.tensor([small.bytes_moved, large.bytes_moved], dtype=torch.float64)
    fixed, per_image = torch.linalg.solve(equations, moved)
    return fixed, per_image


# %% answer="23.traffic" case="from-the-large-end" points=1
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    per_image = (small.bytes_moved - large.bytes_moved) / (small.batch - large.batch)
    fixed = large.bytes_moved - large.batch * per_image
    return fixed, per_image


# %% answer="23.crossover" case="the-later-one" points=0
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    floor_s = work.kernels * limits.launch_s
    by_memory = (floor_s * limits.bytes_per_s - fixed) / per_image
    by_compute = floor_s * limits.flop_per_s * work.batch / work.flop
    return max(0.0, by_memory, by_compute)


# %% answer="23.crossover" case="fixed-bytes-forgotten" points=0
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    floor_s = work.kernels * limits.launch_s
    by_memory = floor_s * limits.bytes_per_s / per_image
    by_compute = floor_s * limits.flop_per_s * work.batch / work.flop
    return max(0.0, min(by_memory, by_compute))


# %% answer="23.crossover" case="flop-of-the-batch" points=0
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    floor_s = work.kernels * limits.launch_s
    by_memory = (floor_s * limits.bytes_per_s - fixed) / per_image
    by_compute = floor_s * limits.flop_per_s / work.flop
    return max(0.0, min(by_memory, by_compute))


# %% answer="23.crossover" case="memory-alone" points=0
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    floor_s = work.kernels * limits.launch_s
    return max(0.0, (floor_s * limits.bytes_per_s - fixed) / per_image)


# %% answer="23.crossover" case="flop-a-picture-first" points=2
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    launches_s, flop = limits.launch_s * work.kernels, work.flop / work.batch
    sizes = [
        launches_s * limits.flop_per_s / flop,
        (launches_s - fixed / limits.bytes_per_s) * limits.bytes_per_s / per_image,
    ]
    return torch.tensor(sizes, dtype=torch.float64).min().clamp(min=0)


# %% answer="23.crossover" case="bisected" points=2
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""

    def beyond(batch):
        seconds = max(
            work.flop / work.batch * batch / limits.flop_per_s, (fixed + per_image * batch) / limits.bytes_per_s
        )
        return seconds > work.kernels * limits.launch_s

    low, high = 0.0, 1e9
    if beyond(low):
        return 0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high
