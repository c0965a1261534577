"""Pictures reach the figure pixel for pixel, and the data's label with them."""

import numpy as np
import pytest
import torch

from course_utils.classroom.images import as_pixels, film_strip, show_images, tile
from course_utils.diffusion.data import procedural_images


def test_tile_puts_every_picture_where_it_belongs():
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    sheet = tile(images, columns=3)
    assert sheet.shape == (2 * 6, 3 * 6, 3)
    for index in range(5):
        row, column = divmod(index, 3)
        cut = sheet[row * 6 + 1 : row * 6 + 5, column * 6 + 1 : column * 6 + 5]
        assert torch.equal(cut, images[index].permute(1, 2, 0))
    assert (sheet[7:11, 13:17] == 255).all(), "the empty place stays white"


def test_floats_and_single_pictures_are_understood():
    assert as_pixels(torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1)).flatten().tolist() == [0, 128, 255]
    with pytest.raises(ValueError, match=r"images must be \(N, 3, H, W\), seen \(2, 1, 4, 4\)"):
        as_pixels(torch.zeros(2, 1, 4, 4))


def test_a_grid_shows_its_pictures_and_says_what_they_are():
    images = procedural_images("test", n=10)
    made = show_images(images, "Some", n=8)
    ax = made.axes[0]
    assert ax.get_title(loc="left") == "Some  (procedural images, not CIFAR-10)"
    np.testing.assert_array_equal(ax.images[0].get_array(), tile(images.images[:8], 8).numpy())


def test_film_strip_wants_one_picture_a_label():
    pictures = list(torch.zeros(3, 3, 4, 4))
    assert len(film_strip({"a": pictures, "b": pictures}, ["1", "2", "3"]).axes) == 6
    with pytest.raises(ValueError, match="row 'a' has 3 pictures for 2 labels"):
        film_strip({"a": pictures}, ["1", "2"])
