# %% [markdown]
# # Planted answers of `04_roofline`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="04.conv_work" case="one-flop-a-multiply-add" points=0
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    flop = n * size * size * c_out * c_in * k * k
    moved = (n * c_in * size * size + c_out * c_in * k * k + n * c_out * size * size) * bytes_per_value
    return flop, moved


# %% answer="04.conv_work" case="weight-forgotten" points=0
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    flop = 2 * n * size * size * c_out * c_in * k * k
    moved = n * (c_in + c_out) * size * size * bytes_per_value
    return flop, moved


# %% answer="04.conv_work" case="weight-for-each-picture" points=0
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    flop = 2 * n * size * size * c_out * c_in * k * k
    moved = n * (c_in * size * size + c_out * c_in * k * k + c_out * size * size) * bytes_per_value
    return flop, moved


# %% answer="04.conv_work" case="four-bytes-always" points=0
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    flop = 2 * n * size * size * c_out * c_in * k * k
    moved = (n * c_in * size * size + c_out * c_in * k * k + n * c_out * size * size) * 4
    return flop, moved


# %% answer="04.conv_work" case="kernel-not-squared" points=0
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    flop = 2 * n * size * size * c_out * c_in * k
    moved = (n * c_in * size * size + c_out * c_in * k + n * c_out * size * size) * bytes_per_value
    return flop, moved


# %% answer="04.conv_work" case="tensors-measured" points=2
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    x, weight, y = (
        torch.empty(shape) for shape in ((n, c_in, size, size), (c_out, c_in, k, k), (n, c_out, size, size))
    )
    flop = 2.0 * y.numel() * weight[0].numel()
    moved = float(sum(one.numel() for one in (x, weight, y)) * bytes_per_value)
    return flop, moved


# %% answer="04.conv_work" case="pixels-first" points=2
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    pixels, taps = n * size**2, c_in * k**2
    flop = 2 * pixels * taps * c_out
    moved = bytes_per_value * (pixels * (c_in + c_out) + taps * c_out)
    return flop, moved


# %% answer="04.attainable" case="the-larger-one" points=0
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    return max(flop_per_s, intensity * bytes_per_s)


# %% answer="04.attainable" case="intensity-divides" points=0
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    return min(flop_per_s, bytes_per_s / intensity)


# %% answer="04.attainable" case="one-after-the-other" points=0
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    return 1 / (1 / flop_per_s + 1 / (intensity * bytes_per_s))


# %% answer="04.attainable" case="memory-roof-alone" points=0
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    return intensity * bytes_per_s


# %% answer="04.attainable" case="by-the-ridge" points=1
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    ridge = flop_per_s / bytes_per_s
    if intensity < ridge:
        return bytes_per_s * intensity
    return flop_per_s


# %% answer="04.attainable" case="by-seconds-a-byte" points=1
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    return intensity / max(intensity / flop_per_s, 1 / bytes_per_s)
