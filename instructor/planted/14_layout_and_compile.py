# %% [markdown]
# # Planted answers of `14_layout_and_compile`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="14.strides" case="height-for-width" points=0
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    if channels_last:
        return (c * h * w, 1, h * c, c)
    return (c * h * w, h * w, h, 1)


# %% answer="14.strides" case="layout-ignored" points=0
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    return (c * h * w, h * w, w, 1)


# %% answer="14.strides" case="in-bytes" points=0
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    if channels_last:
        return (4 * c * h * w, 4, 4 * w * c, 4 * c)
    return (4 * c * h * w, 4 * h * w, 4 * w, 4)


# %% answer="14.strides" case="in-order-of-memory" points=0
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    if channels_last:
        return (c * h * w, w * c, c, 1)
    return (c * h * w, h * w, w, 1)


# %% answer="14.strides" case="asked-of-a-tensor" points=1
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    made = torch.empty(shape).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    return made.stride()


# %% answer="14.strides" case="from-inside-out" points=1
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    lengths, found, stride = {"c": c, "h": h, "w": w}, {}, 1
    for axis in "cwh" if channels_last else "whc":
        found[axis] = stride
        stride *= lengths[axis]
    return [stride, found["c"], found["h"], found["w"]]


# %% answer="14.run_quietly" case="read-at-once" points=0
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses = []
    for _ in range(n):
        losses.append(step().item())
    return losses


# %% answer="14.run_quietly" case="rest-left-behind" points=0
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses, unread = [], []
    for i in range(1, n + 1):
        unread.append(step())
        if i % every == 0:
            losses += torch.stack(unread).tolist()
            unread = []
    return losses


# %% answer="14.run_quietly" case="read-twice" points=0
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses, unread = [], []
    for i in range(1, n + 1):
        unread.append(step())
        if i % every == 0 or i == n:
            losses += torch.stack(unread).tolist()
    return losses


# %% answer="14.run_quietly" case="still-tensors" points=0
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses = [step() for _ in range(n)]
    return losses


# %% answer="14.run_quietly" case="one-step-too-many" points=0
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses, unread = [], []
    for i in range(n + 1):
        unread.append(step())
        if len(unread) == every or i == n:
            losses += torch.stack(unread).tolist()
            unread = []
    return losses


# %% answer="14.run_quietly" case="in-groups" points=2
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses = []
    while len(losses) < n:
        group = [step() for _ in range(min(every, n - len(losses)))]
        losses.extend(float(one) for one in torch.stack(group).cpu().numpy())
    return losses


# %% answer="14.run_quietly" case="kept-in-one-tensor" points=2
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    losses, kept = [], None
    for done in range(n):
        loss = step().reshape(1)
        kept = loss if kept is None else torch.cat([kept, loss])
        if len(kept) == every or done == n - 1:
            losses, kept = losses + kept.tolist(), None
    return losses


# %% answer="14.break_even" case="first-step-counted-twice" points=0
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    if compiled_s >= eager_s:
        return float("inf")
    return first_s / (eager_s - compiled_s)


# %% answer="14.break_even" case="never-not-thought-of" points=0
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    return (first_s - compiled_s) / (eager_s - compiled_s)


# %% answer="14.break_even" case="rounded-up" points=0
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    if compiled_s >= eager_s:
        return float("inf")
    return -(-(first_s - compiled_s) // (eager_s - compiled_s))


# %% answer="14.break_even" case="against-eager-alone" points=0
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    if compiled_s >= eager_s:
        return float("inf")
    return first_s / eager_s


# %% answer="14.break_even" case="one-plus-the-rest" points=1
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    won_s = eager_s - compiled_s
    if won_s <= 0:
        return torch.inf
    return 1 + (first_s - eager_s) / won_s


# %% answer="14.break_even" case="a-tensor" points=1
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    won_s = torch.tensor(float(eager_s - compiled_s), dtype=torch.float64)
    return (first_s - compiled_s) / won_s if won_s > 0 else torch.tensor(float("inf"))
