# %% [markdown]
# # Planted answers of `13_fewer_blocks`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="13.stage_share" case="way-up-not-reversed" points=0
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        part, *place = name.split(".")
        if part in ("downs", "ups"):
            stage = int(place[0])
        else:
            stage = stages - 1 if part.startswith("mid_") else 0
        shares[stage] += cost / total
    return shares


# %% answer="13.stage_share" case="rest-forgotten" points=0
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        part, *place = name.split(".")
        if part == "downs":
            shares[int(place[0])] += cost / total
        elif part == "ups":
            shares[stages - 1 - int(place[0])] += cost / total
        elif part.startswith("mid_"):
            shares[stages - 1] += cost / total
    return shares


# %% answer="13.stage_share" case="sums-not-shares" points=0
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        part, *place = name.split(".")
        if part == "downs":
            stage = int(place[0])
        elif part == "ups":
            stage = stages - 1 - int(place[0])
        else:
            stage = stages - 1 if part.startswith("mid_") else 0
        shares[stage] += cost
    return shares


# %% answer="13.stage_share" case="middle-outermost" points=0
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        part, *place = name.split(".")
        if part == "downs":
            stage = int(place[0])
        elif part == "ups":
            stage = stages - 1 - int(place[0])
        else:
            stage = 0
        shares[stage] += cost / total
    return shares


# %% answer="13.stage_share" case="every-key-has-a-number" points=0
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        part, place, *_ = name.split(".")
        stage = int(place) if part == "downs" else stages - 1 - int(place)
        shares[stage] += cost / total
    return shares


# %% answer="13.stage_share" case="a-tensor" points=2
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    sums = torch.zeros(stages, dtype=torch.float64)
    for name, cost in costs.items():
        words = name.split(".")
        inner = stages - 1
        stage = {"downs": lambda: int(words[1]), "ups": lambda: inner - int(words[1])}.get(words[0], lambda: 0)()
        sums[inner if words[0].startswith("mid") else stage] += cost
    shares = sums / sums.sum()
    return shares


# %% answer="13.stage_share" case="stage-by-stage" points=2
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())

    def inside(name, stage):
        if name.startswith("mid_"):
            return stage == stages - 1
        if name.startswith(("downs.", "ups.")):
            return name.startswith((f"downs.{stage}.", f"ups.{stages - 1 - stage}."))
        return stage == 0

    shares = [sum(cost for name, cost in costs.items() if inside(name, stage)) / total for stage in range(stages)]
    return shares


# %% answer="13.one_block" case="no-copy" points=0
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = unet
    for stage in (*smaller.downs, *smaller.ups):
        stage[1] = Shortcut(stage[1])
    return smaller


# %% answer="13.one_block" case="way-up-forgotten" points=0
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = copy.deepcopy(unet)
    for stage in smaller.downs:
        stage[1] = Shortcut(stage[1])
    return smaller


# %% answer="13.one_block" case="first-block-removed" points=0
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = copy.deepcopy(unet)
    for stage in (*smaller.downs, *smaller.ups):
        stage[0] = Shortcut(stage[0])
    return smaller


# %% answer="13.one_block" case="shallow-copy" points=0
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = copy.copy(unet)
    for stage in (*smaller.downs, *smaller.ups):
        stage[1] = Shortcut(stage[1])
    return smaller


# %% answer="13.one_block" case="nothing-in-its-place" points=0
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = copy.deepcopy(unet)
    for stage in (*smaller.downs, *smaller.ups):
        stage[1] = nn.Identity()
    return smaller


# %% answer="13.one_block" case="one-loop-after-the-other" points=2
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = copy.deepcopy(unet)
    for i in range(len(smaller.downs)):
        smaller.downs[i][1] = Shortcut(smaller.downs[i][1])
    for up in smaller.ups:
        blocks = list(up)
        up[1] = Shortcut(blocks[1])
    return smaller


# %% answer="13.one_block" case="the-verb-of-the-kit" points=2
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    smaller = fewer_blocks(unet, blocks=1)
    return smaller


# %% answer="13.evaluation_share" case="of-the-training" points=0
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    drawing_s = images * nfe * call_s
    return drawing_s / (every * step_s)


# %% answer="13.evaluation_share" case="one-call-a-picture" points=0
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    drawing_s = images * call_s
    return drawing_s / (drawing_s + every * step_s)


# %% answer="13.evaluation_share" case="share-of-training" points=0
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    drawing_s = images * nfe * call_s
    return every * step_s / (drawing_s + every * step_s)


# %% answer="13.evaluation_share" case="one-step-between" points=0
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    drawing_s = images * nfe * call_s
    return drawing_s / (drawing_s + step_s)


# %% answer="13.evaluation_share" case="by-the-ratio" points=1
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    training_s, drawing_s = every * step_s, images * nfe * call_s
    return 1 - training_s / (training_s + drawing_s)


# %% answer="13.evaluation_share" case="a-tensor-of-both" points=1
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    seconds = torch.tensor([images * nfe * call_s, every * step_s], dtype=torch.float64)
    return (seconds / seconds.sum())[0]


# %% answer="13.cadence" case="rounded-down" points=0
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    return math.floor(drawing_s * (1 - most) / (most * step_s))


# %% answer="13.cadence" case="training-share-forgotten" points=0
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    return math.ceil(drawing_s / (most * step_s))


# %% answer="13.cadence" case="share-upside-down" points=0
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    return math.ceil(drawing_s * most / ((1 - most) * step_s))


# %% answer="13.cadence" case="not-rounded" points=0
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    return drawing_s * (1 - most) / (most * step_s)


# %% answer="13.cadence" case="up-by-minus" points=1
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    return int(-(-drawing_s * (1 / most - 1) // step_s))


# %% answer="13.cadence" case="whole-then-search" points=1
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    drawing_s = images * nfe * call_s
    every = max(1, int(drawing_s * (1 - most) / most / step_s) - 2)
    while drawing_s / (drawing_s + every * step_s) > most:
        every += 1
    return every
