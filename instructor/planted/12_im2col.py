# %% [markdown]
# # Planted answers of `12_im2col`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="12.conv_loops" case="kernel-turned" points=0
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = x.new_empty(len(x), len(weight), height - k + 1, width - k + 1)
    for i in range(height - k + 1):
        for j in range(width - k + 1):
            y[:, :, i, j] = torch.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], weight.flip(2, 3))
    return y


# %% answer="12.conv_loops" case="last-row-left-out" points=0
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = x.new_zeros(len(x), len(weight), height - k + 1, width - k + 1)
    for i in range(height - k):
        for j in range(width - k):
            y[:, :, i, j] = torch.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], weight)
    return y


# %% answer="12.conv_loops" case="rows-and-columns-swapped" points=0
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = x.new_empty(len(x), len(weight), height - k + 1, width - k + 1)
    for i in range(height - k + 1):
        for j in range(width - k + 1):
            y[:, :, i, j] = torch.einsum("ncij,ocji->no", x[:, :, i : i + k, j : j + k], weight)
    return y


# %% answer="12.conv_loops" case="channels-not-summed" points=0
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = x.new_empty(len(x), len(weight), height - k + 1, width - k + 1)
    for i in range(height - k + 1):
        for j in range(width - k + 1):
            y[:, :, i, j] = torch.einsum("nij,oij->no", x[:, 0, i : i + k, j : j + k], weight[:, 0])
    return y


# %% answer="12.conv_loops" case="six-loops" points=1
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = torch.zeros(len(x), len(weight), height - k + 1, width - k + 1, dtype=x.dtype)
    for n in range(len(x)):
        for o in range(len(weight)):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    y[n, o, i, j] = (x[n, :, i : i + k, j : j + k] * weight[o]).sum()
    return y


# %% answer="12.conv_loops" case="shift-and-add" points=1
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    y = 0
    for i in range(k):
        for j in range(k):
            window = x[:, :, i : height - k + 1 + i, j : width - k + 1 + j]
            y = y + torch.tensordot(window, weight[:, :, i, j], dims=([1], [1])).movedim(-1, 1)
    return y


# %% answer="12.conv_im2col" case="no-padding" points=0
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1])
    flat = weight.flatten(1) @ columns
    return flat.unflatten(2, (rows, -1))


# %% answer="12.conv_im2col" case="square-pictures-only" points=0
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1], padding=padding)
    flat = weight.flatten(1) @ columns
    return flat.view(len(x), len(weight), rows, rows)


# %% answer="12.conv_im2col" case="not-folded-back" points=0
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1], padding=padding)
    return weight.flatten(1) @ columns


# %% answer="12.conv_im2col" case="positions-before-filters" points=0
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1], padding=padding)
    flat = columns.transpose(1, 2) @ weight.flatten(1).T  # (N, L, O)
    return flat.reshape(len(x), len(weight), rows, -1)


# %% answer="12.conv_im2col" case="padding-of-one-always" points=0
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1], padding=1)
    return (weight.flatten(1) @ columns).unflatten(2, (-1, x.shape[3]))


# %% answer="12.conv_im2col" case="einsum-on-padded" points=2
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    k = weight.shape[-1]
    columns = F.unfold(F.pad(x, (padding,) * 4), k)
    return torch.einsum("op,npl->nol", weight.reshape(len(weight), -1), columns).reshape(len(x), len(weight), rows, -1)


# %% answer="12.conv_im2col" case="tensor-unfold" points=2
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    k, wide = weight.shape[-1], torch.nn.functional.pad(x, [padding, padding, padding, padding])
    patches = wide.unfold(2, k, 1).unfold(3, k, 1)  # (N, C, rows, columns, K, K)
    return torch.tensordot(patches, weight, dims=([1, 4, 5], [1, 2, 3])).permute(0, 3, 1, 2)


# %% answer="12.im2col_work" case="columns-once" points=0
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    pictures = n * side * side
    moved = bytes_per_value * (pictures * c_in + pictures * c_in * k * k + c_out * c_in * k * k + pictures * c_out)
    return flop, moved


# %% answer="12.im2col_work" case="input-forgotten" points=0
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    pictures = n * side * side
    moved = bytes_per_value * (2 * pictures * c_in * k * k + c_out * c_in * k * k + pictures * c_out)
    return flop, moved


# %% answer="12.im2col_work" case="as-a-plain-convolution" points=0
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    pictures = n * side * side
    moved = bytes_per_value * (pictures * c_in + c_out * c_in * k * k + pictures * c_out)
    return flop, moved


# %% answer="12.im2col_work" case="four-bytes-always" points=0
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    pictures = n * side * side
    moved = 4 * (pictures * c_in + 2 * pictures * c_in * k * k + c_out * c_in * k * k + pictures * c_out)
    return flop, moved


# %% answer="12.im2col_work" case="step-by-step" points=1
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    unfold = n * side**2 * c_in + n * side**2 * c_in * k**2
    product = n * side**2 * c_in * k**2 + c_out * c_in * k**2 + n * side**2 * c_out
    moved = (unfold + product) * bytes_per_value
    return flop, moved


# %% answer="12.im2col_work" case="sizes-of-tensors" points=1
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    x, kernel, y = torch.empty(n, c_in, side, side), torch.empty(c_out, c_in, k, k), torch.empty(n, c_out, side, side)
    columns = F.unfold(x, k, padding=k // 2)
    moved = float(bytes_per_value) * (x.numel() + 2 * n * c_in * k * k * side * side + kernel.numel() + y.numel())
    return flop, moved
