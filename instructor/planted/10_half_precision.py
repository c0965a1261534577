# %% [markdown]
# # Planted answers of `10_half_precision`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="10.spacing" case="value-for-its-power" points=0
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return value / 2.0**mantissa_bits


# %% answer="10.spacing" case="the-same-everywhere" points=0
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return 2.0**-mantissa_bits


# %% answer="10.spacing" case="one-bit-off" points=0
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return 2.0 ** (exponent - mantissa_bits + 1)


# %% answer="10.spacing" case="divided-by-the-bits" points=0
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return 2.0**exponent / mantissa_bits


# %% answer="10.spacing" case="nothing-returned" points=0
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    distance = 2.0 ** (exponent - mantissa_bits)


# %% answer="10.spacing" case="interval-over-steps" points=1
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return 2**exponent / 2**mantissa_bits


# %% answer="10.spacing" case="ldexp-of-a-tensor" points=1
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    return torch.ldexp(torch.tensor(1.0), torch.tensor(exponent - mantissa_bits))


# %% answer="10.Halved" case="weights-cast" points=0
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        return self.module.to(self.dtype)(x_t.to(self.dtype), t).float()


# %% answer="10.Halved" case="answer-stays-short" points=0
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        with torch.autocast(x_t.device.type, self.dtype):
            return self.module(x_t, t)


# %% answer="10.Halved" case="type-not-passed-on" points=0
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        with torch.autocast(x_t.device.type):
            answer = self.module(x_t, t)
        return answer.float()


# %% answer="10.Halved" case="called-after-the-block" points=0
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        with torch.autocast(x_t.device.type, self.dtype):
            x_t = x_t * 1
        return self.module(x_t, t).float()


# %% answer="10.Halved" case="time-forgotten" points=0
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        with torch.autocast(x_t.device.type, self.dtype):
            return self.module(x_t).float()


# %% answer="10.Halved" case="float-inside-the-block" points=2
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        with torch.autocast(device_type=x_t.device.type, dtype=self.dtype):
            return self.module(x_t, t).float()


# %% answer="10.Halved" case="as-the-input-is" points=2
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        short = torch.amp.autocast(x_t.device.type, dtype=self.dtype)
        return short(self.module)(x_t, t).to(torch.float32)


# %% answer="10.scaled_gradients" case="scaled-too-late" points=0
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    gradients = torch.autograd.grad(loss, parameters)
    gradients = [gradient.float() * factor / factor for gradient in gradients]
    if not all(gradient.isfinite().all() for gradient in gradients):
        return None
    return gradients


# %% answer="10.scaled_gradients" case="never-divided" points=0
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    gradients = list(torch.autograd.grad(loss * factor, parameters))
    if not all(gradient.isfinite().all() for gradient in gradients):
        return None
    return gradients


# %% answer="10.scaled_gradients" case="overflow-kept" points=0
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    gradients = [gradient.float() / factor for gradient in torch.autograd.grad(loss * factor, parameters)]
    return gradients


# %% answer="10.scaled_gradients" case="only-if-all-overflow" points=0
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    gradients = [gradient.float() / factor for gradient in torch.autograd.grad(loss * factor, parameters)]
    if not any(gradient.isfinite().all() for gradient in gradients):
        return None
    return gradients


# %% answer="10.scaled_gradients" case="loss-divided" points=0
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    gradients = torch.autograd.grad(loss / factor, parameters)
    gradients = [gradient.float() * factor for gradient in gradients]
    if not all(gradient.isfinite().all() for gradient in gradients):
        return None
    return gradients


# %% answer="10.scaled_gradients" case="backward-and-grad" points=2
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    for weight in parameters:
        weight.grad = None
    (loss * factor).backward()
    gradients = [weight.grad.clone().float() / factor for weight in parameters]
    if any(not torch.isfinite(gradient).all() for gradient in gradients):
        gradients = None
    return gradients


# %% answer="10.scaled_gradients" case="a-tuple-by-reciprocals" points=2
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    scaled = torch.autograd.grad(factor * loss, parameters)
    gradients = tuple(one.to(torch.float32) * (1.0 / factor) for one in scaled)
    if torch.cat([one.flatten() for one in gradients]).abs().max().isfinite().logical_not():
        return None
    return gradients
