# %% [markdown]
# # Planted answers of `11_bottleneck`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="11.bottleneck_flop" case="one-flop-a-multiply-add" points=0
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    if where == "between":
        flop = pixels * (c_in * m + 9 * m * c_out)
    else:
        flop = pixels * (c_in * m + 9 * m * m + m * c_out)
    return flop


# %% answer="11.bottleneck_flop" case="always-between" points=0
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    flop = 2 * pixels * (c_in * m + 9 * m * c_out)
    return flop


# %% answer="11.bottleneck_flop" case="widening-forgotten" points=0
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    if where == "between":
        flop = 2 * pixels * (c_in * m + 9 * m * c_out)
    else:
        flop = 2 * pixels * (c_in * m + 9 * m * m)
    return flop


# %% answer="11.bottleneck_flop" case="nine-taps-everywhere" points=0
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    if where == "between":
        flop = 2 * pixels * 9 * (c_in * m + m * c_out)
    else:
        flop = 2 * pixels * 9 * (c_in * m + m * m + m * c_out)
    return flop


# %% answer="11.bottleneck_flop" case="parts-in-a-table" points=2
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    kernels = [(1, c_in, m), (9, m, c_out)] if where == "between" else [(1, c_in, m), (9, m, m), (1, m, c_out)]
    flop = sum(2.0 * pixels * math.prod(kernel) for kernel in kernels)
    return flop


# %% answer="11.bottleneck_flop" case="common-part-first" points=2
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    middle = m if where == "inside" else c_out
    flop = 2 * m * pixels * c_in + 18 * m * pixels * middle
    if where == "inside":
        flop += 2 * m * pixels * c_out
    return flop


# %% answer="11.inside" case="biases-everywhere" points=0
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    narrow = nn.Conv2d(conv.in_channels, m, 1)
    middle = nn.Conv2d(m, m, 3, padding=1)
    widen = nn.Conv2d(m, conv.out_channels, 1)
    return nn.Sequential(narrow, middle, widen)


# %% answer="11.inside" case="padding-forgotten" points=0
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    narrow = nn.Conv2d(conv.in_channels, m, 1, bias=False)
    middle = nn.Conv2d(m, m, 3, bias=False)
    widen = nn.Conv2d(m, conv.out_channels, 1)
    return nn.Sequential(narrow, middle, widen)


# %% answer="11.inside" case="activation-between" points=0
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    narrow = nn.Conv2d(conv.in_channels, m, 1, bias=False)
    middle = nn.Conv2d(m, m, 3, padding=1, bias=False)
    widen = nn.Conv2d(m, conv.out_channels, 1)
    return nn.Sequential(narrow, nn.SiLU(), middle, widen)


# %% answer="11.inside" case="no-bias-at-all" points=0
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    narrow = nn.Conv2d(conv.in_channels, m, 1, bias=False)
    middle = nn.Conv2d(m, m, 3, padding=1, bias=False)
    widen = nn.Conv2d(m, conv.out_channels, 1, bias=False)
    return nn.Sequential(narrow, middle, widen)


# %% answer="11.inside" case="a-list" points=0
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    narrow = nn.Conv2d(conv.in_channels, m, 1, bias=False)
    middle = nn.Conv2d(m, m, 3, padding=1, bias=False)
    widen = nn.Conv2d(m, conv.out_channels, 1)
    return [narrow, middle, widen]


# %% answer="11.inside" case="padding-in-the-first-part" points=2
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    return nn.Sequential(
        nn.Conv2d(conv.in_channels, m, kernel_size=1, padding=1, bias=False),
        nn.Conv2d(m, m, kernel_size=3, bias=False),
        nn.Conv2d(m, conv.out_channels, kernel_size=1),
    )


# %% answer="11.inside" case="padding-same" points=2
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    parts = nn.Sequential()
    parts.append(nn.Conv2d(conv.weight.shape[1], m, (1, 1), bias=False))
    parts.append(nn.Conv2d(m, m, (3, 3), padding="same", bias=False))
    parts.append(nn.Conv2d(m, conv.weight.shape[0], (1, 1), bias=True))
    return parts


# %% answer="11.low_rank" case="smallest-kept" points=0
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    u, s, vh = torch.linalg.svd(unfolding, full_matrices=False)
    narrow = u[:, -m:].T[:, :, None, None]
    core = (s[-m:, None] * vh[-m:]).unflatten(1, (len(weight), 3, 3)).transpose(0, 1)
    return narrow, core


# %% answer="11.low_rank" case="values-in-both-parts" points=0
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    u, s, vh = torch.linalg.svd(unfolding, full_matrices=False)
    narrow = (u[:, :m] * s[:m]).T[:, :, None, None]
    core = (s[:m, None] * vh[:m]).unflatten(1, (len(weight), 3, 3)).transpose(0, 1)
    return narrow, core


# %% answer="11.low_rank" case="values-in-neither-part" points=0
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    u, s, vh = torch.linalg.svd(unfolding, full_matrices=False)
    narrow = u[:, :m].T[:, :, None, None]
    core = vh[:m].unflatten(1, (len(weight), 3, 3)).transpose(0, 1)
    return narrow, core


# %% answer="11.low_rank" case="axes-folded-wrongly" points=0
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    u, s, vh = torch.linalg.svd(unfolding, full_matrices=False)
    narrow = u[:, :m].T[:, :, None, None]
    core = (s[:m, None] * vh[:m]).reshape(len(weight), m, 3, 3)
    return narrow, core


# %% answer="11.low_rank" case="first-channels-cut-out" points=0
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    narrow = torch.eye(m, weight.shape[1], dtype=weight.dtype)[:, :, None, None]
    core = weight[:, :m]
    return narrow, core


# %% answer="11.low_rank" case="by-eigenvectors" points=2
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    _, vectors = torch.linalg.eigh(unfolding @ unfolding.T)
    basis = vectors[:, -m:]  # (C, m), of the largest
    narrow = basis.T[:, :, None, None]
    core = torch.einsum("cm,ochw->omhw", basis, weight)
    return narrow, core


# %% answer="11.low_rank" case="roots-shared-out" points=2
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    u, s, v = torch.svd(unfolding)
    share = s[:m].sqrt()
    narrow = (u[:, :m] * share).T.reshape(m, -1, 1, 1)
    core = (v[:, :m] * share).T.reshape(m, len(weight), 3, 3).permute(1, 0, 2, 3).contiguous()
    return narrow, core
