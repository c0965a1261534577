import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from course_utils.diffusion import (
    Batches,
    cifar_files,
    data,
    describe,
    load_images,
    procedural_images,
    to_float,
    to_uint8,
)
from course_utils.diffusion.cifar_files import CLASSES, download_cifar10, find_cifar10, read_cifar10
from course_utils.diffusion.seeds import sent

COUNTS = {"train": 50, "test": 20}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """CIFAR-10 shrunk to 70 images, so that its files can be made here; nothing else is found or downloaded."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in COUNTS.items():
        arrays[f"x_{split}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = (np.arange(count) % 10).astype(np.uint8)
    sums = {split: tuple(arrays[f"x_{split}"].sum((0, 1, 2), dtype=np.int64).tolist()) for split in COUNTS}
    monkeypatch.setattr(cifar_files, "COUNTS", COUNTS)
    monkeypatch.setattr(cifar_files, "CHANNEL_SUMS", sums)
    monkeypatch.setattr(data, "_REPOSITORY", tmp_path / "repository")
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return arrays


def write_npz(folder: Path, arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "cifar10.npz", classes=np.array(CLASSES), **arrays)
    return folder / "cifar10.npz"


def python_2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it: byte strings are `str`, arrays come from numpy.core.multiarray."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(text)) + text

    def integer(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    dtype = b"cnumpy\ndtype\n(" + string(b"u1") + integer(0) + integer(1) + b"tR("
    dtype += integer(3) + string(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    shape = b"(" + integer(pixels.shape[0]) + integer(pixels.shape[1]) + b"t"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integer(0) + b"t" + string(b"b") + b"tR("
    array += integer(1) + shape + dtype + b"I00\n" + string(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + numbers + b"u."


def write_batches(folder: Path, arrays, monkeypatch) -> Path:
    """The official layout, with the published checksums replaced by those of these small files."""
    from torchvision.datasets import CIFAR10

    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for split, names in {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}.items():
        parts = np.array_split(np.arange(COUNTS[split]), len(names))
        files = []
        for name, rows in zip(names, parts, strict=True):
            pixels = arrays[f"x_{split}"][rows].transpose(0, 3, 1, 2).reshape(len(rows), -1)
            content = python_2_batch(pixels, arrays[f"y_{split}"][rows].tolist())
            (folder / name).write_bytes(content)
            files.append([name, hashlib.md5(content).hexdigest()])
        monkeypatch.setattr(CIFAR10, f"{split}_list", files)
    return folder


def check_is(arrays, split, images):
    assert (images.images.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert images.images.is_contiguous()
    assert np.array_equal(images.images.numpy(), arrays[f"x_{split}"].transpose(0, 3, 1, 2))
    assert np.array_equal(images.labels.numpy(), arrays[f"y_{split}"])
    assert images.is_cifar10
    assert images.label == "CIFAR-10"
    assert images.classes == CLASSES


@pytest.mark.parametrize("split", ["train", "test"])
def test_npz_batches_and_archive_give_the_same_images(small, tmp_path, monkeypatch, split):
    write_npz(tmp_path / "a", small)
    batches = write_batches(tmp_path / "b", small, monkeypatch)
    (tmp_path / "c").mkdir()
    with tarfile.open(tmp_path / "c/cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(batches, "cifar-10-batches-py")
    for folder in "abc":
        check_is(small, split, load_images(split, folder=tmp_path / folder))


def test_search_order(small, tmp_path, monkeypatch):
    for name in ("named", "environment", "data", "repository/data"):
        write_npz(tmp_path / name, small)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "environment"))
    assert Path(load_images(folder=tmp_path / "named").source).parent.name == "named"
    assert Path(load_images().source).parent.name == "environment"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "environment/cifar10.npz"))
    assert Path(load_images().source).parent.name == "environment"
    monkeypatch.delenv("COURSE_DATA")
    assert load_images().source == "data/cifar10.npz"
    (tmp_path / "data/cifar10.npz").unlink()
    assert Path(load_images().source) == tmp_path / "repository/data/cifar10.npz"


def test_first_n(small, tmp_path):
    write_npz(tmp_path, small)
    images = load_images(folder=tmp_path, n=7)
    assert len(images) == 7
    assert np.array_equal(images.images[0].numpy(), small["x_train"][0].transpose(2, 0, 1))
    assert images.images.untyped_storage().nbytes() == 7 * 3 * 32 * 32, "the rest must not stay in memory"
    assert len(load_images(folder=tmp_path, n=1_000)) == 50


def damage_missing(arrays):
    del arrays["x_train"]


def damage_shape(arrays):
    arrays["x_train"] = arrays["x_train"][:40]


def damage_layout(arrays):
    arrays["x_train"] = arrays["x_train"].transpose(0, 3, 1, 2)


def damage_dtype(arrays):
    arrays["x_train"] = arrays["x_train"].astype(np.float32)


def damage_labels(arrays):
    arrays["y_train"] = arrays["y_train"] // 2


def damage_pixels(arrays):
    arrays["x_train"] = arrays["x_train"][..., ::-1]


def damage_object(arrays):
    arrays["x_train"] = np.array([os.system] * 3, dtype=object)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_missing, "x_train is not a file in the archive"),
        (damage_shape, r"x_train must be uint8 \(50, 32, 32, 3\), found uint8 \(40, 32, 32, 3\)"),
        (damage_layout, r"found uint8 \(50, 3, 32, 32\)"),
        (damage_dtype, "found float32"),
        (damage_labels, "y_train must hold the labels 0 to 9"),
        (damage_pixels, "the pixels of x_train add up to"),
        (damage_object, "allow_pickle=False"),
    ],
)
def test_a_wrong_npz_is_named_with_what_was_expected(small, tmp_path, damage, words):
    damage(small)
    path = write_npz(tmp_path, small)
    with pytest.raises(ValueError, match=words) as caught:
        load_images(folder=tmp_path)
    assert str(caught.value).startswith(f"{path} is not a whole CIFAR-10")
    assert "python -m course_utils data" in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_npz_is_named(small, tmp_path, share):
    path = write_npz(tmp_path, small)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"cifar10\.npz is not a whole CIFAR-10"):
        load_images(folder=tmp_path)


def test_truncated_and_altered_official_files_are_named(small, tmp_path, monkeypatch):
    folder = write_batches(tmp_path, small, monkeypatch)
    content = bytearray((folder / "data_batch_3").read_bytes())
    content[-1000] ^= 1
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=r"data_batch_3 has md5 .*, the official one is"):
        load_images(folder=tmp_path)
    (folder / "data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"not a whole CIFAR-10 .*data_batch_3"):
        load_images(folder=tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz is not a whole CIFAR-10"):
        read_cifar10(tmp_path / "cifar-10-python.tar.gz", "test")


def test_a_batch_that_would_run_code_is_refused(small, tmp_path, monkeypatch):
    """Even with the right checksum, only arrays are unpickled."""
    from torchvision.datasets import CIFAR10

    class Malice:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    folder = write_batches(tmp_path, small, monkeypatch)
    content = pickle.dumps({"data": Malice(), "labels": []}, protocol=2)
    (folder / "test_batch").write_bytes(content)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", hashlib.md5(content).hexdigest()]])
    with pytest.raises(ValueError, match="which a batch of images does not need"):
        load_images("test", folder=tmp_path)
    assert not (tmp_path / "owned").exists()


def test_offline_falls_to_the_procedural_set_in_one_sentence(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "download_cifar10", lambda folder: pytest.fail("a download was tried"))
    images = load_images(folder=tmp_path)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "COURSE_OFFLINE=1 forbids the download" in said
    assert "not CIFAR-10" in said
    assert "python -m course_utils data" in said
    assert images.label == "procedural images, not CIFAR-10"
    assert not images.is_cifar10
    monkeypatch.delenv("COURSE_OFFLINE")
    load_images("test", download=False)
    assert "download=False" in capsys.readouterr().out


def archive_bytes(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    return buffer.getvalue()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(small, tmp_path, monkeypatch):
    """A stand-in for the official address: a file served from here, its checksum in the place of the published one."""
    from torchvision.datasets import CIFAR10

    content = archive_bytes(write_batches(tmp_path / "origin", small, monkeypatch))
    (tmp_path / "served.tar.gz").write_bytes(content)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    monkeypatch.delenv("COURSE_OFFLINE")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as running:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{running.server_port}/served.tar.gz")
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield tmp_path / "served.tar.gz"
        running.shutdown()
        thread.join()


def test_download_is_verified_and_kept_as_one_file(small, server, tmp_path):
    folder = tmp_path / "data"
    assert download_cifar10(folder) == folder / "cifar10.npz"
    assert [path.name for path in folder.iterdir()] == ["cifar10.npz"]
    check_is(small, "train", load_images())
    check_is(small, "test", load_images("test"))


@pytest.mark.parametrize("failure", ["truncated", "gone"])
def test_a_failed_download_leaves_nothing_and_says_why(server, tmp_path, capsys, failure):
    (tmp_path / "data").mkdir()
    if failure == "truncated":
        server.write_bytes(server.read_bytes()[:1000])
    else:
        server.unlink()
    images = load_images()
    said = capsys.readouterr().out
    assert not images.is_cifar10
    assert "the download failed" in said
    assert said.count("using procedural images") == 1
    assert list((tmp_path / "data").iterdir()) == []


def test_find_sees_the_three_forms_and_nothing_else(tmp_path):
    assert find_cifar10(tmp_path) is None
    assert find_cifar10(tmp_path / "absent") is None
    (tmp_path / "cifar-10-python.tar.gz").touch()
    assert find_cifar10(tmp_path) == tmp_path / "cifar-10-python.tar.gz"
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert find_cifar10(tmp_path).name == "cifar-10-batches-py"
    (tmp_path / "other.npz").touch()
    assert find_cifar10(tmp_path / "other.npz").name == "other.npz"


def test_places_and_splits_that_do_not_exist_are_named(small, monkeypatch):
    with pytest.raises(FileNotFoundError, match="folder is 'nowhere', which does not exist"):
        load_images(folder="nowhere")
    monkeypatch.setenv("COURSE_DATA", "lost")
    with pytest.raises(FileNotFoundError, match="COURSE_DATA is 'lost', which does not exist"):
        load_images()
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_images("val")
    with pytest.raises(ValueError, match="n must be at least 1"):
        procedural_images(n=0)


def test_procedural_images_are_the_same_everywhere():
    train, test = procedural_images(), procedural_images("test")
    assert (train.images.shape, test.images.shape) == ((2_000, 3, 32, 32), (500, 3, 32, 32))
    assert torch.bincount(train.labels).tolist() == [200] * 10
    digest = hashlib.sha256(train.images.numpy().tobytes() + test.images.numpy().tobytes()).hexdigest()
    assert digest == "564ad6bf57189619f2b15abf779a589c476798c061f5468ddc07d3695732b6b7"
    assert torch.equal(procedural_images(n=35).images, train.images[:35])
    assert len(torch.unique(torch.cat([train.images, test.images]).flatten(1), dim=0)) == 2_500


def test_procedural_classes_can_be_told_apart():
    """A nearest-neighbour guess over shapes alone (colours taken away) does far better than chance."""

    def outlines(images):
        grey = images.images.float().mean(1)
        return (grey > grey.mean((1, 2), keepdim=True)).flatten(1).float()

    train, test = procedural_images(), procedural_images("test")
    nearest = torch.cdist(outlines(test), outlines(train)).argmin(1)
    assert (train.labels[nearest] == test.labels).float().mean() > 0.8


def test_describe(small, tmp_path):
    write_npz(tmp_path, small)
    text = describe(load_images(folder=tmp_path))
    mean = small["x_train"][..., 0].mean() / 255
    assert "CIFAR-10: 50 train images (3, 32, 32), uint8" in text
    assert "airplane 5, automobile 5" in text
    assert f"mean {mean:.3f}" in text
    assert "not CIFAR-10" in describe(procedural_images(n=5))


def test_to_float_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    expected = levels.double() / 255 * 2 - 1
    torch.testing.assert_close(to_float(levels).double(), expected, rtol=0, atol=2e-7)
    outside = torch.tensor([-3.0, 3.0])
    assert to_uint8(outside).tolist() == [0, 255]
    assert outside.tolist() == [-3.0, 3.0]


def numbered(n: int) -> torch.Tensor:
    """Images whose left half holds their number, the right half zeros: readable also when mirrored."""
    images = torch.zeros(n, 1, 2, 4, dtype=torch.uint8)
    images[..., :2] = torch.arange(1, n + 1, dtype=torch.uint8)[:, None, None, None]
    return images


def read_numbers(x_0: torch.Tensor) -> list[int]:
    return to_uint8(x_0).amax((1, 2, 3)).tolist()


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (12, 4), (3, 8)])
def test_every_pass_shows_every_image_once(n, batch_size):
    batches = Batches(numbered(n), batch_size, seed=1)
    shown = [number for step in range(n) for number in read_numbers(batches(step))]
    passes = [shown[i : i + n] for i in range(0, n * batch_size, n)]
    assert all(sorted(numbers) == list(range(1, n + 1)) for numbers in passes)
    assert passes[0] != passes[1]


def test_a_batch_is_a_function_of_seed_and_step():
    batches = Batches(procedural_images(n=30), 4, seed=1)
    forward = [batches(step) for step in range(20)]
    fresh = Batches(procedural_images(n=30).images, 4, seed=1)
    for step in reversed(range(20)):
        assert torch.equal(fresh(step), forward[step])
    assert not torch.equal(Batches(procedural_images(n=30), 4, seed=2)(0), forward[0])
    assert (forward[0].dtype, forward[0].shape) == (torch.float32, (4, 3, 32, 32))


def test_half_of_the_images_are_mirrored():
    images = numbered(100)
    shown = torch.cat([Batches(images, 50, seed=0)(step) for step in range(20)])
    mirrored = (shown[:, 0, 0, -1] > -1).float().mean().item()
    assert abs(mirrored - 0.5) < 4 * 0.5 / 1000**0.5
    straight = Batches(images, 50, seed=0, flip=False)(0)
    assert (straight[:, 0, 0, -1] == -1).all()


def test_ranks_share_what_one_process_would_see():
    images = procedural_images(n=30)
    whole = Batches(images, 8, seed=5)
    parts = [Batches(images, 4, seed=5, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(9):
        assert torch.equal(torch.cat([part(step) for part in parts]), whole(step))


def test_what_goes_to_a_gpu_joins_its_queue():
    class Rows:
        """A tensor that notes how it is copied."""

        pinned = False

        def pin_memory(self):
            self.pinned = True
            return self

        def to(self, device, non_blocking=False):
            return device.type, self.pinned, non_blocking

    assert sent(Rows(), torch.device("cuda", 0)) == ("cuda", True, True)
    assert sent(Rows(), torch.device("cpu")) == ("cpu", False, False)


def test_wrong_batches_are_refused():
    images = procedural_images(n=4).images
    for wrong in (images[:0], images.float(), images[0]):
        with pytest.raises(ValueError, match="images must be uint8"):
            Batches(wrong, 2)
    for options in ({"batch_size": 0}, {"batch_size": 2, "rank": 2, "world_size": 2}):
        with pytest.raises(ValueError, match="batch_size must be positive and rank below world_size"):
            Batches(images, **options)


def real_cifar10() -> Path | None:
    return next((found for place in data.data_folders() if (found := find_cifar10(place))), None)


@pytest.mark.skipif(real_cifar10() is None, reason="no CIFAR-10 in COURSE_DATA or data/")
def test_the_real_cifar10():
    train, test = load_images(), load_images("test")
    assert torch.bincount(train.labels).tolist() == [5_000] * 10
    assert torch.bincount(test.labels).tolist() == [1_000] * 10
    # The channel means and deviations that the literature gives for the training set.
    text = describe(train)
    assert "mean 0.491 0.482 0.447, standard deviation 0.247 0.243 0.262" in text
    assert train.label == test.label == "CIFAR-10"
