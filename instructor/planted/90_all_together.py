# %% [markdown]
# # Planted answers of `90_all_together`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="90.whole_gain" case="mean-of-the-gains" points=0
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    return sum(share * gain for share, gain in zip(shares, gains, strict=True))


# %% answer="90.whole_gain" case="product" points=0
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    whole = 1.0
    for gain in gains:
        whole *= gain
    return whole


# %% answer="90.whole_gain" case="time-left-for-gain" points=0
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    return sum(share / gain for share, gain in zip(shares, gains, strict=True))


# %% answer="90.whole_gain" case="gains-to-the-shares" points=0
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    whole = 1.0
    for share, gain in zip(shares, gains):
        whole *= gain**share
    return whole


# %% answer="90.whole_gain" case="seconds-before-and-after" points=1
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    after = 0.0
    for share, gain in zip(shares, gains):
        after += share / gain
    return sum(shares) / after


# %% answer="90.whole_gain" case="tensors" points=1
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    shares, gains = torch.tensor(shares, dtype=torch.float64), torch.tensor(gains, dtype=torch.float64)
    return (shares / gains).sum().reciprocal()


# %% answer="90.best" case="speed-alone" points=0
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    name = max(verdicts, key=lambda one: verdicts[one].speed.value)
    return (name,)


# %% answer="90.best" case="all-that-is-not-worse" points=0
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    kept = {name: one.speed.value for name, one in verdicts.items() if one.outcome != "faster but worse"}
    name = max(kept, key=kept.get) if kept else None
    return (name,)


# %% answer="90.best" case="none-not-thought-of" points=0
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    kept = {name: one.speed.value for name, one in verdicts.items() if one.outcome == "preserved and faster"}
    name = max(kept, key=kept.get)
    return (name,)


# %% answer="90.best" case="first-that-passes" points=0
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    kept = [name for name, one in verdicts.items() if one.outcome == "preserved and faster"]
    name = kept[0] if kept else None
    return (name,)


# %% answer="90.best" case="any-that-is-faster" points=0
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    kept = {name: one.speed.value for name, one in verdicts.items() if "faster" in one.outcome}
    name = max(kept, key=kept.get) if kept else None
    return (name,)


# %% answer="90.best" case="sorted" points=2
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    passed = sorted((one.speed.value, name) for name, one in verdicts.items() if one.outcome == "preserved and faster")
    name = passed[-1][1] if passed else None
    return (name,)


# %% answer="90.best" case="one-by-one" points=2
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    name, most = None, 0.0
    for each, one in verdicts.items():
        if one.outcome.startswith("preserved") and one.speed.value > most:
            name, most = each, one.speed.value
    return (name,)
