"""Damage against scipy, torchvision and counts by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.io import decode_jpeg, encode_jpeg

from course_utils.diffusion import procedural_images
from course_utils.experiments.damage import add_noise, blur, drop_classes, duplicate, jpeg


@pytest.fixture(scope="module")
def pictures():
    return procedural_images("test", n=40).images


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 2.0, 9.0])  # at 9 the kernel is wider than the picture
def test_blur_is_that_of_scipy(pictures, sigma):
    ours = blur(pictures, sigma)
    wide = pictures.double().numpy()
    exact = ndimage.gaussian_filter(wide, (0, 0, sigma, sigma), mode="reflect", truncate=4.0)
    assert ours.dtype == torch.uint8
    assert np.abs(ours.numpy() - exact).max() <= 0.5 + 1e-9, "nothing but the rounding may differ"


def test_blur_keeps_rectangles_apart_and_a_flat_picture_flat():
    tall = torch.arange(2 * 3 * 8 * 20).remainder(256).to(torch.uint8).reshape(2, 3, 8, 20)
    exact = ndimage.gaussian_filter(tall.double().numpy(), (0, 0, 1.5, 1.5), mode="reflect")
    assert np.abs(blur(tall, 1.5).numpy() - exact).max() <= 0.5 + 1e-9
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    assert torch.equal(blur(flat, 3.0), flat)


def test_a_dose_of_nothing_changes_nothing(pictures):
    before = pictures.clone()
    for same in (blur(pictures, 0), add_noise(pictures, 0), duplicate(pictures, 1)):
        assert torch.equal(same, pictures)
        assert same.data_ptr() != pictures.data_ptr()
    blur(pictures, 2), add_noise(pictures, 20), jpeg(pictures, 10)
    assert torch.equal(pictures, before), "the pictures given are left as they are"


def test_noise_has_the_spread_asked_for_and_belongs_to_the_picture():
    grey = torch.full((60, 3, 32, 32), 128, dtype=torch.uint8)
    for levels in (2.0, 8.0, 24.0):
        difference = add_noise(grey, levels, seed=1).double() - 128
        # rounding to whole levels adds a variance of 1/12; 184,320 draws hold the spread to 0.7 %
        assert difference.std().item() == pytest.approx((levels**2 + 1 / 12) ** 0.5, rel=0.02)
        assert abs(difference.mean().item()) < 5 * levels / 184_320**0.5
    assert torch.equal(add_noise(grey, 8)[:7], add_noise(grey[:7], 8)), "picture i depends on the seed and i alone"
    assert not torch.equal(add_noise(grey, 8, seed=0), add_noise(grey, 8, seed=1))
    assert not torch.equal(add_noise(grey, 8)[0], add_noise(grey, 8)[1])


def test_noise_is_clamped_and_does_not_wrap_around():
    black, white = (torch.full((4, 3, 8, 8), level, dtype=torch.uint8) for level in (0, 255))
    assert add_noise(black, 4).max() < 60
    assert add_noise(white, 4).min() > 195


def test_dropped_classes_are_gone_and_the_others_keep_their_order():
    images = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 3, 2, 2)
    labels = torch.tensor([3, 0, 1, 3, 2, 0])
    assert drop_classes(images, labels, [0, 3])[:, 0, 0, 0].tolist() == [2, 4]
    assert drop_classes(images, labels, range(1))[:, 0, 0, 0].tolist() == [0, 2, 3, 4]
    assert drop_classes(images, labels, [])[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_duplicates_are_counted_by_hand():
    images = torch.arange(7, dtype=torch.uint8).reshape(7, 1, 1, 1).expand(7, 3, 2, 2)
    assert duplicate(images, 2)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert duplicate(images, 3)[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert duplicate(images, 100)[:, 0, 0, 0].tolist() == [0] * 7


@pytest.mark.filterwarnings("ignore:The image decoding")  # due to move to TorchCodec, and independent of Pillow
def test_jpeg_is_that_of_torchvision(pictures):
    for quality in (90, 30, 5):
        theirs = torch.stack([decode_jpeg(encode_jpeg(picture, quality)) for picture in pictures])
        difference = (jpeg(pictures, quality).int() - theirs.int()).abs()
        assert difference.max() <= 3, "two builds of one decoder may round apart"
        assert difference.float().mean() < 0.2


@pytest.mark.parametrize(
    "harm",
    [
        lambda images, dose: blur(images, (0.5, 1.0, 2.0)[dose]),
        lambda images, dose: add_noise(images, (2, 8, 24)[dose]),
        lambda images, dose: jpeg(images, (90, 50, 10)[dose]),
    ],
)
def test_a_larger_dose_changes_more(pictures, harm):
    errors = [(harm(pictures, dose).double() - pictures.double()).square().mean().item() for dose in range(3)]
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda x: blur(x.float(), 1), r"images are float32 \(40, 3, 32, 32\), wanted uint8"),
        (lambda x: blur(x[:0], 1), "at least one picture"),
        (lambda x: jpeg(x[:, :1], 50), r"\(40, 1, 32, 32\), wanted uint8 \(N, 3, H, W\)"),
        (lambda x: blur(x, -1), "sigma must be 0 or larger"),
        (lambda x: blur(x, float("nan")), "sigma must be 0 or larger"),
        (lambda x: add_noise(x, -2), "levels must be 0 or larger"),
        (lambda x: duplicate(x, 0), "copies must be at least 1"),
        (lambda x: jpeg(x, 0), "quality must be between 1 and 95"),
        (lambda x: drop_classes(x, torch.zeros(3), [0]), "wanted one a picture"),
        (lambda x: drop_classes(x, torch.zeros(40, dtype=torch.int64), [0]), "no picture is left"),
    ],
)
def test_mistakes_get_one_sentence(pictures, call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(pictures)
