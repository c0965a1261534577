"""TF32 told apart from float32: switched for a while, and put back."""

import pytest
import torch

from course_utils.speedups import tf32


def precisions():
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    return [backend.fp32_precision for backend in backends]


def test_tf32_is_switched_on_and_off_and_put_back():
    before = precisions()
    with tf32(True):
        assert precisions() == ["tf32"] * 3
        with tf32(False):
            assert precisions() == ["ieee"] * 3
        assert precisions() == ["tf32"] * 3
        assert torch.backends.cudnn.allow_tf32, "the older interface agrees"
    assert precisions() == before
    with pytest.raises(ZeroDivisionError), tf32(True):
        1 / 0  # noqa: B018
    assert precisions() == before
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tf32_rounds_to_11_bits():  # pragma: no cover - CUDA
    a, b = (torch.full((512, 512), value, device="cuda") for value in (1 + 2**-12, 1.0))
    with tf32(False):
        assert (a @ b)[0, 0].item() == 512 * (1 + 2**-12)
    with tf32(True):
        assert (a @ b)[0, 0].item() == 512.0
