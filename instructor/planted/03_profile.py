# %% [markdown]
# # Planted answers of `03_profile`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="03.conv_backward" case="kernel-not-turned" points=0
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_x = F.conv2d(grad_out, weight.transpose(0, 1), padding=padding)
    grad_weight = F.conv2d(x.transpose(0, 1), grad_out.transpose(0, 1), padding=padding).transpose(0, 1)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="weight-axes-left-swapped" points=0
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_x = F.conv_transpose2d(grad_out, weight, padding=padding)
    grad_weight = F.conv2d(x.transpose(0, 1), grad_out.transpose(0, 1), padding=padding)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="padding-forgotten" points=0
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_x = F.conv_transpose2d(grad_out, weight)
    grad_weight = F.conv2d(x.transpose(0, 1), grad_out.transpose(0, 1)).transpose(0, 1)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="one-of-two" points=0
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_x = F.conv_transpose2d(grad_out, weight, padding=padding)
    grad_weight = torch.zeros_like(weight)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="returned-in-the-wrong-order" points=0
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_weight = F.conv_transpose2d(grad_out, weight, padding=padding)
    grad_x = F.conv2d(x.transpose(0, 1), grad_out.transpose(0, 1), padding=padding).transpose(0, 1)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="turned-by-hand" points=3
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    grad_x = F.conv2d(grad_out, weight.flip(2, 3).transpose(0, 1), padding=padding)
    n, c_in, height, width = x.shape
    patches = F.unfold(x, weight.shape[-1], padding=padding)  # (N, C_in K K, H W)
    grad_weight = torch.einsum("nol,npl->op", grad_out.flatten(2), patches).view(weight.shape)
    return grad_x, grad_weight


# %% answer="03.conv_backward" case="autograd" points=3
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    given = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    out = F.conv2d(*given, padding=padding)
    grad_x, grad_weight = torch.autograd.grad(out, given, grad_out)
    return grad_x, grad_weight
