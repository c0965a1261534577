"""`count` against hand counts: every figure here is worked out from shapes, not taken from a run."""

import pytest
import torch
import torchvision
from denoising_diffusion_pytorch import Unet
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Attention, LinearAttention
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import register_flop_formula

from course_utils.measure.traffic import Counts, Tally
from course_utils.measure.work import BETWEEN, count

FLOAT = 4  # bytes


def conv_flop(n, c_in, c_out, kernel, positions, groups=1):
    return 2 * n * (c_in // groups) * c_out * kernel * positions


@pytest.mark.parametrize(
    ("options", "kernel", "out"),
    [
        ({"kernel_size": 3, "padding": 1}, 9, 8 * 8),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, 9, 4 * 4),
        ({"kernel_size": 3, "dilation": 2}, 9, 4 * 4),
        ({"kernel_size": 1}, 1, 8 * 8),
        ({"kernel_size": 3, "padding": 1, "groups": 4}, 9, 8 * 8),
        ({"kernel_size": (3, 1), "padding": (1, 0), "bias": False}, 3, 8 * 8),
    ],
)
def test_conv_forward_and_backward(options, kernel, out):
    conv, x = nn.Conv2d(8, 12, **options), torch.randn(2, 8, 8, 8)
    forward = conv_flop(2, 8, 12, kernel, out, options.get("groups", 1))
    assert count(conv, x).flop == forward
    assert count(conv, x, backward=True).flop == 3 * forward


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_conv_pairs_each_input_position_with_the_kernel(groups):
    conv = nn.ConvTranspose2d(8, 12, 3, stride=2, groups=groups)
    forward = conv_flop(2, 8, 12, 9, 5 * 5, groups)
    assert count(conv, torch.randn(2, 8, 5, 5)).flop == forward
    assert count(conv, torch.randn(2, 8, 5, 5), backward=True).flop == 3 * forward


def test_conv1d_and_conv3d():
    assert count(nn.Conv1d(4, 6, 3), torch.randn(2, 4, 10)).flop == 2 * 2 * 4 * 6 * 3 * 8
    assert count(nn.Conv3d(4, 6, 3), torch.randn(2, 4, 5, 5, 5)).flop == 2 * 2 * 4 * 6 * 27 * 27


def test_linear_with_its_traffic():
    work = count(nn.Linear(16, 32), torch.randn(8, 16))
    assert work.flop == 2 * 8 * 16 * 32
    assert work.bytes_moved == FLOAT * (8 * 16 + 16 * 32 + 32 + 8 * 32)
    assert work.fused_bytes == work.bytes_moved
    assert work.intensity == work.flop / work.bytes_moved
    assert (work.kernels, work.syncs) == (1, 0)


def test_linear_over_several_batch_dimensions():
    assert count(nn.Linear(16, 32), torch.randn(2, 3, 5, 16)).flop == 2 * 30 * 16 * 32


@pytest.mark.parametrize(
    ("fn", "shapes", "flop"),
    [
        (torch.matmul, [(3, 4), (4,)], 2 * 12),
        (torch.dot, [(7,), (7,)], 2 * 7),
        (torch.addmv, [(3,), (3, 4), (4,)], 2 * 12),
        (torch.addmm, [(3, 5), (3, 4), (4, 5)], 2 * 60),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 120),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 120),
        (lambda a, b: torch.einsum("bhdn,bhen->bhde", a, b), [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 2 * 3 * 4 * 6 * 5),
        (lambda a, b: torch.einsum("ij,kj->ik", a, b), [(3, 4), (5, 4)], 2 * 60),
        (lambda s, a, b: s.addmm_(a, b), [(3, 5), (3, 4), (4, 5)], 2 * 60),
    ],
)
def test_matrix_products(fn, shapes, flop):
    work = count(fn, *[torch.randn(shape) for shape in shapes])
    assert work.flop == flop
    assert not work.uncounted


def test_attention_on_a_cpu():
    n, heads, s_q, s_k, d = 2, 3, 7, 11, 8
    q, k, v = (torch.randn(n, heads, s, d) for s in (s_q, s_k, s_k))
    product = 2 * n * heads * s_q * s_k * d
    assert count(F.scaled_dot_product_attention, q, k, v).flop == 2 * product
    # backward: the scores again, then gradients of scores, v, q and k
    assert count(F.scaled_dot_product_attention, q, k, v, backward=True).flop == (2 + 5) * product


def test_lstm():
    lstm = nn.LSTM(4, 6)
    forward = 2 * 5 * 3 * (4 * 6) * (4 + 6)
    with torch.no_grad():
        assert count(lstm, torch.randn(5, 3, 4)).flop == forward


def test_conv_chain_backward_is_twice_forward():
    chain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    first, second = conv_flop(2, 3, 8, 9, 64), conv_flop(2, 8, 4, 1, 64)
    work = count(chain, torch.randn(2, 3, 8, 8), backward=True)
    assert work.flop == 3 * (first + second)
    assert {name: row.flop for name, row in work.per_module.items()} == {
        "0": 3 * first,
        "1": 0,
        "2": 3 * second,
        BETWEEN: 0,
    }


def test_frozen_parameters_cost_no_weight_gradient():
    conv = nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False)
    forward = conv_flop(1, 3, 8, 9, 64)
    assert count(conv, torch.randn(1, 3, 8, 8), backward=True).flop == 2 * forward


def test_resnet18_equals_the_sum_over_its_layers():
    model = torchvision.models.resnet18().eval()
    x = torch.randn(1, 3, 224, 224)
    hand, side = conv_flop(1, 3, 64, 49, 112 * 112) + 2 * 512 * 1000, {64: 56, 128: 28, 256: 14, 512: 7}
    for c_in, c in ((64, 64), (64, 128), (128, 256), (256, 512)):
        positions = side[c] ** 2
        hand += conv_flop(1, c_in, c, 9, positions) + 3 * conv_flop(1, c, c, 9, positions)
        hand += conv_flop(1, c_in, c, 1, positions) if c_in != c else 0
    work = count(model, x)
    assert work.flop == hand == 3_628_146_688
    assert sum(work.per_module.values(), Counts()).flop == hand
    assert list(work.per_module) == [*(name for name, _ in model.named_children()), BETWEEN]
    assert not work.uncounted
    layer1 = work.per_module["layer1"]
    assert layer1.flop == 4 * conv_flop(1, 64, 64, 9, 56 * 56)


def hand_sum_of_unet(model, x, t):
    """Layer by layer from shapes that hooks see; attention from its definition (4 heads of 32, 4 memories)."""
    flop = []

    def layer(module, args, out):
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] ** 2
            flop.append(conv_flop(1, module.in_channels, module.out_channels, kernel, out[0, 0].numel()))
        elif isinstance(module, nn.Linear):
            flop.append(2 * module.in_features * module.out_features)
        elif isinstance(module, LinearAttention):
            n = args[0][0, 0].numel()
            flop.append(2 * 4 * 32 * 32 * ((n + 4) + n))
        elif isinstance(module, Attention):
            n = args[0][0, 0].numel()
            flop.append(2 * 2 * 4 * n * (n + 4) * 32)

    for module in model.modules():
        module.register_forward_hook(layer)
    model(x, t)
    return sum(flop)


@pytest.mark.parametrize(
    ("net", "gflop", "digits"),
    [({"dim": 64, "dim_mults": (1, 2, 4, 8)}, 3.651, 3), ({"dim": 32, "dim_mults": (1, 2, 4)}, 0.85, 2)],
)
def test_the_baseline_nets(net, gflop, digits):
    with torch.device("meta"):
        model, x, t = Unet(**net), torch.empty(1, 3, 32, 32), torch.empty(1, dtype=torch.long)
    work = count(model, x, t)
    assert round(work.flop / 1e9, digits) == gflop
    assert not work.uncounted
    assert work.per_module[BETWEEN].flop == 0
    assert {"init_conv", "time_mlp", "downs.0.0", "ups.2.3", "final_res_block", "final_conv"} < set(work.per_module)
    assert count(model, x, t, backward=True).flop == pytest.approx(3 * work.flop, rel=1e-3)
    assert work.flop == hand_sum_of_unet(model, x, t)


@pytest.mark.parametrize(("width", "million", "gflop"), [(128, 35.7, 12.44), (96, 20.1, 7.07)])
def test_the_ddpm_net_of_diffusers(width, million, gflop):
    """Ho et al. 2020 on CIFAR-10, attention at 16 x 16: the published net and a narrower one."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    down = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")
    up = ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    channels = (width, 2 * width, 2 * width, 2 * width)
    with torch.device("meta"):
        model = diffusers.UNet2DModel(
            32, block_out_channels=channels, down_block_types=down, up_block_types=up, attention_head_dim=None
        )
        work = count(model, torch.empty(1, 3, 32, 32), torch.empty(1))
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == million
    assert round(work.flop / 1e9, 2) == gflop
    assert not work.uncounted
    assert {"conv_in", "down_blocks.1", "mid_block", "up_blocks.2", "conv_out"} < set(work.per_module)


@pytest.mark.parametrize("backward", [False, True])
def test_rows_add_up_to_the_whole_in_every_column(backward):
    model, x, t = Unet(8, dim_mults=(1, 2)), torch.randn(2, 3, 16, 16), torch.tensor([3, 500])
    work = count(model, x, t, backward=backward)
    total = sum(work.per_module.values(), Counts())
    for column in ("flop", "bytes_moved", "fused_bytes", "kernels", "syncs"):
        assert getattr(total, column) == getattr(work, column), column
        assert all(getattr(row, column) >= 0 for row in work.per_module.values()), column
    assert 0 < work.fused_bytes < work.bytes_moved


def test_flop_grow_with_the_batch_and_parameters_do_not():
    model = nn.Conv2d(3, 4, 3)
    one, four = count(model, torch.randn(1, 3, 8, 8)), count(model, torch.randn(4, 3, 8, 8))
    assert four.flop == 4 * one.flop
    weights = FLOAT * (3 * 4 * 9 + 4)
    assert four.bytes_moved - weights == 4 * (one.bytes_moved - weights)


def test_a_block_called_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.shared(self.shared(x)))

    work = count(Twice(), torch.randn(1, 4), backward=True)
    assert work.per_module["shared"].calls == 2
    assert work.per_module["shared"].flop == 2 * 3 * 2 * 16
    assert work.per_module[BETWEEN].flop == 0


def test_keyword_arguments_reach_the_callable():
    class Scaled(nn.Module):
        def forward(self, x, *, weight):
            return x @ weight

    assert count(Scaled(), torch.randn(2, 3), weight=torch.randn(3, 5)).flop == 2 * 30


def test_a_compiled_model_is_counted_as_the_model_that_it_compiles():
    model, x = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), torch.randn(3, 4)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    work = count(compiled, x)
    assert work.flop == count(model, x).flop == 2 * 3 * (4 * 8 + 8 * 2)
    assert list(work.per_module) == ["_orig_mod.0", "_orig_mod.1", "_orig_mod.2", BETWEEN]


def test_inference_mode_and_no_grad_count_the_same():
    model, x, t = Unet(8, dim_mults=(1, 2)), torch.randn(1, 3, 8, 8), torch.tensor([3])
    plain = count(model, x, t)
    with torch.inference_mode():
        assert count(model, x, t).flop == plain.flop
    with torch.no_grad():
        assert count(model, x, t).bytes_moved == plain.bytes_moved


def test_autocast_outside_or_inside_reaches_the_blocks():
    class Wrapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.model(x)

    model, x = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), torch.randn(2, 64)
    work = count(Wrapped(model), x)
    assert list(work.per_module) == ["model.0", "model.1", BETWEEN]
    assert work.per_module[BETWEEN].bytes_moved == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert count(model, x).bytes_moved == work.bytes_moved


def test_views_move_nothing_and_expanded_tensors_their_storage():
    x = torch.randn(4, 5)
    assert count(lambda x: x.t().reshape(5, 2, 2)[1:].unsqueeze(0).chunk(2, dim=-1), x).bytes_moved == 0
    wide = torch.randn(1, 5).expand(100, 5)
    assert count(lambda a: a + 1, wide).bytes_moved == FLOAT * (5 + 500)
    assert count(lambda a: a * a, x).bytes_moved == FLOAT * (20 + 20)


@pytest.mark.parametrize(
    ("fn", "elements"),
    [
        (lambda x, y: x.add_(y), 20 + 20 + 20),
        (lambda x, y: x.copy_(y), 20 + 20),
        (lambda x, y: x.zero_(), 20),
        (lambda x, y: torch.add(x, y, out=torch.empty(4, 5)), 20 + 20 + 20),
        (lambda x, y: torch.empty_like(x), 0),
        (lambda x, y: torch.cat((x, y)), 40 + 40),
        (lambda x, y: x.unsqueeze_(0), 0),
    ],
)
def test_traffic_of_in_place_and_out_of_place_operators(fn, elements):
    assert count(fn, torch.randn(4, 5), torch.randn(4, 5)).bytes_moved == FLOAT * elements


def test_a_look_up_reads_only_the_rows_it_returns():
    table, rows = nn.Embedding(1000, 8), torch.tensor([1, 2, 3])
    assert count(table, rows).bytes_moved == 3 * 8 + FLOAT * 8 * 3 * 2


def test_fused_bytes_leave_only_the_products_and_the_edges():
    def fn(x, w, bias, scale):
        return ((x * scale) @ w + bias).relu()

    x, w, bias, scale = torch.randn(8, 16), torch.randn(16, 4), torch.randn(4), torch.randn(16)
    product = 8 * 16 + 16 * 4 + 8 * 4
    assert count(fn, x, w, bias, scale).fused_bytes == FLOAT * (product + 8 * 16 + 16 + 4 + 8 * 4)


def test_syncs_are_named_wherever_the_host_would_wait():
    x = torch.randn(6)
    assert count(lambda x: x.sum().item(), x).syncs == 1
    assert count(lambda x: x[x > 0], x).syncs == 1
    assert count(lambda x: x.nonzero(), x).syncs == 1
    assert count(lambda x: x[torch.tensor([0, 2])] * 2, x).syncs == 0


def test_on_an_accelerator_only_its_own_values_and_blocking_copies_are_waits():
    aten = torch.ops.aten
    with FakeTensorMode():
        here, there = torch.ones(4), torch.ones(4, device="cuda")
    cases = (
        (aten.nonzero.default, (there,), {}, there, 1),
        (aten.nonzero.default, (here,), {}, here, 0),
        (aten._local_scalar_dense.default, (here,), {}, 1.0, 0),
        (aten.index.Tensor, (there, [there.bool()]), {}, there, 1),
        (aten.index.Tensor, (there, [None, there.long()]), {}, there, 0),
        (aten.index.Tensor, (there, [here.long()]), {}, there, 1),
        (aten._to_copy.default, (here,), {"device": "cuda"}, there, 1),
        (aten._to_copy.default, (here,), {"device": "cuda", "non_blocking": True}, there, 0),
        (aten._to_copy.default, (there,), {"dtype": torch.float64}, there, 0),
        (aten.copy_.default, (there, here), {}, there, 1),
        (aten.copy_.default, (here, there), {}, here, 1),
        (aten.copy_.default, (there, here, True), {}, there, 0),
        (aten.copy_.default, (there, there), {}, there, 0),
    )
    for func, args, kwargs, out, waits in cases:
        tally = Tally()
        tally._note_sync(func, args, kwargs, out)
        assert tally.counts(accelerated=True).syncs == waits, (func, args, kwargs)
        assert tally.accelerated == any(t is there for t in tree_leaves((args, out))), (func, args)


def test_an_optimizers_counters_in_host_memory_are_reads_only_without_an_accelerator():
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    adam = torch.optim.Adam([weight], foreach=True)
    adam.step()
    assert count(adam.step).syncs > 0  # its step count is read, which lies in host memory
    with Tally() as tally:
        adam.step()
    assert tally.counts(accelerated=True).syncs == 0
    assert not count(adam.step).uncounted


def test_what_has_no_formula_is_listed_and_plain_traffic_is_not():
    x = torch.randn(8, 8)
    assert count(torch.fft.fft, x).uncounted == {"aten._fft_r2c": 1}
    assert "aten._linalg_svd" in count(torch.linalg.svd, x).uncounted
    work = count(lambda x: F.layer_norm(x, (8,)).softmax(-1).cumsum(0).to(torch.bfloat16).sort().values, x)
    assert not work.uncounted
    assert work.flop == 0
    assert sum(work.traffic.values()) == work.bytes_moved > 0
    assert "no formula" in str(count(torch.fft.fft, x))


def test_custom_operators_are_uncounted_until_they_register_a_formula():
    @torch.library.custom_op("course_test::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    x = torch.randn(3)
    assert count(double, x).uncounted == {"course_test.double": 1}


def test_a_registered_formula_is_used():
    @torch.library.custom_op("course_test::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x**3

    @register_flop_formula(torch.ops.course_test.cube)
    def cube_flop(shape, *, out_shape=None):
        return 2 * shape.numel()

    work = count(cube, torch.randn(3))
    assert (work.flop, work.uncounted) == (6, {})


def test_transformer_layers_are_counted_although_they_have_a_fused_path():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x, tokens = torch.randn(3, 5, 8), 15
    with torch.no_grad():
        work = count(layer, x)
    assert work.flop == 2 * tokens * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * 3 * 5 * 5 * 8
    assert not work.uncounted
    assert torch.backends.mha.get_fastpath_enabled()


def test_tensor_subclasses_are_counted_by_their_parts():
    from torch.testing._internal.two_tensor import TwoTensor

    pair = TwoTensor(torch.randn(3, 4), torch.randn(3, 4))
    assert count(torch.matmul, pair, torch.randn(4, 5)).flop == 2 * 2 * 60


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.conv = nn.BatchNorm2d(3), nn.Dropout(), nn.Conv2d(3, 3, 1)

    def forward(self, x, fail=False):
        out = self.conv(self.drop(self.norm(x)))
        if fail:
            raise KeyError("planted")
        return out


@pytest.mark.parametrize("fail", [False, True])
def test_nothing_is_left_behind(fail):
    model, x = Stateful(), torch.randn(2, 3, 4, 4)
    kept = torch.ones(3)
    model.norm.weight.grad = kept
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    if fail:
        with pytest.raises(KeyError, match="planted"):
            count(model, x, fail=True, backward=True)
    else:
        count(model, x, backward=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.norm.weight.grad is kept
    assert torch.equal(kept, torch.ones(3))
    assert model.conv.weight.grad is None
    assert x.grad is None
    assert not x.requires_grad
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_in_place_activations_as_blocks():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    forward = conv_flop(1, 3, 4, 1, 16)
    assert count(model, torch.randn(1, 3, 4, 4), backward=True).flop == 3 * forward


def test_errors_say_what_was_wanted():
    with pytest.raises(ValueError, match="wants a callable"):
        count(torch.randn(3))
    with pytest.raises(ValueError, match="backward=True wants an output"):
        count(lambda t: t + 1, torch.tensor([1]), backward=True)


def test_prints_as_tables():
    work = count(nn.Linear(4, 4), torch.randn(1, 4))
    assert "FLOP/byte" in str(work)
    assert "32.0 FLOP" in repr(work)
    assert BETWEEN in str(work.per_module)
    assert "<table" in work.per_module._repr_html_()
