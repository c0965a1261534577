"""The checks of 11_bottleneck: right answers pass, planted wrong ones are told apart in plain words."""

import pytest
import torch
from asked_checks import assert_right, assert_wrong, run
from torch import nn

NAMES = ("bottleneck_flop", "inside", "low_rank")


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    for stub in (lambda *_: None, lambda *_: ..., ...):
        own, said = run(capsys, name, stub)
        assert "not answered yet" in said
        assert own is not stub
        assert_right(capsys, name, own)


def counted(c_in, c_out, m, pixels, where):
    """The same by counting the weights of the layers: each does one multiply-add a pixel, 2 FLOP."""
    shapes = {"between": [(c_in, m, 1), (m, c_out, 3)], "inside": [(c_in, m, 1), (m, m, 3), (m, c_out, 1)]}
    return 2 * pixels * sum(nn.Conv2d(a, b, k, bias=False).weight.numel() for a, b, k in shapes[where])


def test_bottleneck_flop(capsys):
    assert_right(capsys, "bottleneck_flop", counted)
    assert_wrong(capsys, "bottleneck_flop", lambda *given: counted(*given) // 2, "a multiply-add is 2")
    assert_wrong(capsys, "bottleneck_flop", lambda a, b, m, _, where: counted(a, b, m, 1, where), "each pixel costs")
    assert_wrong(capsys, "bottleneck_flop", lambda a, b, m, n, where: counted(b, a, m, n, where), "6 x 3 for the 1x1")

    def wide(a, b, m, n, where):
        return counted(a, b, m, n, where) + (where == "inside") * 18 * n * m * (b - m)

    assert_wrong(capsys, "bottleneck_flop", wide, "m channels on both sides")


def parts(conv, m, *, padding=(0, 1, 0), bias=(False, False, True), wide=None):
    """The three convolutions, with slips on demand."""
    ends = [(conv.in_channels, m, 1), (m, wide or m, 3), (wide or m, conv.out_channels, 1)]
    made = zip(ends, padding, bias, strict=True)
    return [nn.Conv2d(a, b, k, padding=pad, bias=has) for (a, b, k), pad, has in made]


def test_inside(capsys):
    assert_right(capsys, "inside", lambda conv, m: nn.Sequential(*parts(conv, m)))
    for padding, words in (((0, 0, 0), "does the 3x3 have its padding"), ((0, 0, 1), "belongs to the 3x3")):
        assert_wrong(capsys, "inside", lambda conv, m, p=padding: nn.Sequential(*parts(conv, m, padding=p)), words)
    for bias in ((True, True, True), (False, False, False)):

        def slip(conv, m, bias=bias):
            return nn.Sequential(*parts(conv, m, bias=bias))

        assert_wrong(capsys, "inside", slip, "a bias in the last part")

    def with_relu(conv, m):
        narrow, middle, widen = parts(conv, m)
        return nn.Sequential(narrow, nn.ReLU(), middle, widen)

    assert_wrong(capsys, "inside", with_relu, "no activation between the parts")
    assert_wrong(capsys, "inside", lambda conv, m: nn.Sequential(*parts(conv, m, wide=m + 1)), "3x3 from m to m")
    assert_wrong(capsys, "inside", parts, "return an nn.Sequential, not list")
    assert_wrong(capsys, "inside", lambda conv, m: nn.Sequential(*parts(conv, m)[:2]), "wanted (2, 4, 5, 7)")


def by_eigenvectors(weight, m, *, keep=slice(None), values=True):
    """The same subspace another way: the leading eigenvectors of the channels' scalar products, kernel projected."""
    unfolding = weight.transpose(0, 1).flatten(1)
    vectors = torch.linalg.eigh(unfolding @ unfolding.T).eigenvectors.flip(1)[:, keep][:, :m]
    core = torch.einsum("ochw,cm->omhw", weight, vectors)
    return vectors.T[:, :, None, None], core if values else core / core.square().sum((0, 2, 3), keepdim=True)


def test_low_rank(capsys):
    assert_right(capsys, "low_rank", by_eigenvectors)

    def forgot(weight, m):
        return by_eigenvectors(weight, m, values=False)

    assert_wrong(capsys, "low_rank", forgot, "the product of the parts is the kernel")

    def smallest(weight, m):
        return by_eigenvectors(weight, m, keep=torch.arange(weight.shape[1]).flip(0))

    assert_wrong(capsys, "low_rank", smallest, "unfold with the input channels first")

    def first_channels(weight, m):
        return torch.eye(weight.shape[1], dtype=weight.dtype)[:m, :, None, None], weight[:, :m]

    assert_wrong(capsys, "low_rank", first_channels, "a kernel of rank 2: distance to the kernel")

    def flat(weight, m):
        narrow, core = by_eigenvectors(weight, m)
        return narrow[:, :, 0, 0], core

    assert_wrong(capsys, "low_rank", flat, "narrow is (8, 8), wanted (8, 8, 1, 1)")
    assert_wrong(capsys, "low_rank", lambda weight, m: by_eigenvectors(weight, m)[0], "return 2 values: narrow, core")
