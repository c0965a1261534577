"""TF32 told apart from float32: switched for a while, and put back."""

import pytest
import torch

from course_utils.measure import float32_arithmetic


def precisions():
    mkldnn, cudnn = torch.backends.mkldnn, torch.backends.cudnn
    return [each.fp32_precision for each in (torch.backends.cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv)]


def test_tf32_is_switched_on_and_off_and_put_back():
    before = precisions()
    with float32_arithmetic(tf32=True):
        assert precisions() == ["tf32"] * 4
        with float32_arithmetic():
            assert precisions() == ["ieee"] * 4
        assert precisions() == ["tf32"] * 4
    assert precisions() == before
    with pytest.raises(ZeroDivisionError), float32_arithmetic(tf32=True):
        1 / 0  # noqa: B018
    assert precisions() == before


def test_afterwards_the_older_interface_answers_again():
    with float32_arithmetic():
        pass
    assert torch.backends.cudnn.allow_tf32, "torch's default, for convolutions"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tf32_rounds_to_11_bits():  # pragma: no cover - CUDA
    a, b = (torch.full((512, 512), value, device="cuda") for value in (1 + 2**-12, 1.0))
    with float32_arithmetic():
        assert (a @ b)[0, 0].item() == 512 * (1 + 2**-12)
    with float32_arithmetic(tf32=True):
        assert (a @ b)[0, 0].item() == 512.0
