"""Extractors: cifar-cnn from a file, and where Inception's weights are looked for and verified before unpickling."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from course_utils import shipped as shipped_files
from course_utils.measure.quality import (
    best_extractor,
    cifar_cnn,
    extract,
    extractor_from,
    inception,
    inception_weights,
)
from course_utils.measure.quality.cifar_cnn import CifarCNN
from course_utils.measure.quality.references import kept_reference
from course_utils.shipped import sha256_of


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A machine without Inception's weights."""
    monkeypatch.delenv("COURSE_INCEPTION", raising=False)
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)


@pytest.fixture
def classifier(tmp_path):
    """A narrow classifier whose normalisations have seen images, and its file."""
    torch.manual_seed(0)
    model = CifarCNN((4, 6, 8, 10))
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32))
    path = tmp_path / "narrow.safetensors"
    save_file(model.state_dict(), path)
    return model.eval(), path


def pictures(n, size=32):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def cached(tmp_path, content=b"weights"):
    """A file where torch hub keeps the published weights."""
    path = tmp_path / "torch" / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_cifar_cnn_gives_the_pooled_features_of_images_between_minus_one_and_one(classifier):
    model, path = classifier
    extractor, images = cifar_cnn(path), pictures(9)
    with torch.no_grad():
        wanted = model.body((images.double() / 255 * 2 - 1).float()).mean((2, 3))
    torch.testing.assert_close(extractor(images), wanted, rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.sha256) == ("cifar-cnn", sha256_of(path))
    features = extract(extractor, images, of="dice", batch_size=4)
    assert (features.n, features.width) == (9, 10)
    torch.testing.assert_close(features.values.float(), wanted, rtol=1e-4, atol=1e-5)


def test_cifar_cnn_is_the_shipped_one_unless_a_file_is_named(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_files, "SHIPPED", tmp_path)
    path = classifier[1].rename(tmp_path / "cifar-cnn.safetensors")
    (tmp_path / "SHA256SUMS").write_text(f"{sha256_of(path)}  {path.name}\n")
    assert cifar_cnn().sha256 == sha256_of(path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"cifar-cnn\.safetensors is damaged"):
        cifar_cnn()


def test_cifar_cnn_refuses_other_files_and_other_sizes(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no classifier .*none\.safetensors; without a path the shipped one"):
        cifar_cnn(tmp_path / "none.safetensors")
    tensors = load_file(classifier[1])
    wrong = tmp_path / "wrong.safetensors"
    for change in ({"head.weight": torch.zeros(10, 3)}, {"more": torch.zeros(1)}):
        save_file({**tensors, **change}, wrong)
        with pytest.raises(ValueError, match=r"wrong\.safetensors does not hold the weights of cifar-cnn"):
            cifar_cnn(wrong)
    save_file({"head.weight": torch.zeros(10, 3)}, wrong)
    with pytest.raises(ValueError, match="does not hold the weights of cifar-cnn"):
        cifar_cnn(wrong)
    wrong.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="does not hold the weights of cifar-cnn"):
        cifar_cnn(wrong)
    with pytest.raises(ValueError, match=r"sees images of 32 x 32 pixels, got \(16, 16\)"):
        cifar_cnn(classifier[1])(pictures(1, 16))


def test_without_inceptions_weights_one_sentence_says_what_to_do(monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"COURSE_OFFLINE=1 forbids the download: .* COURSE_INCEPTION, or use"):
        inception()
    monkeypatch.delenv("COURSE_OFFLINE")
    with pytest.raises(FileNotFoundError, match="are not on this machine and no download was wanted"):
        inception(download=False)


def test_weights_are_looked_for_at_the_path_then_the_variable_then_in_torch_hubs_cache(tmp_path, monkeypatch):
    find = inception_weights.find_inception
    named, other = tmp_path / "named.pth", tmp_path / "other.pth"
    named.touch()
    other.touch()
    assert find() is None
    kept = cached(tmp_path)
    assert find() == kept
    monkeypatch.setenv("COURSE_INCEPTION", str(other))
    assert find() == other
    assert find(named) == named
    with pytest.raises(FileNotFoundError, match=r"path is '.*missing\.pth', which is no file"):
        find(tmp_path / "missing.pth")
    monkeypatch.setenv("COURSE_INCEPTION", str(tmp_path / "missing.pth"))
    with pytest.raises(FileNotFoundError, match=r"COURSE_INCEPTION is '.*missing\.pth', which is no file"):
        find()


class Trap:
    """Pickled, this creates a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, how):
    sprung, place = tmp_path / "sprung", tmp_path / "weights.pth"
    if how == "pickle":
        place.write_bytes(pickle.dumps({"fc.bias": Trap(sprung)}, protocol=2))
    else:
        torch.save({"fc.bias": Trap(sprung)}, place)
    with pytest.raises(ValueError, match=r"weights\.pth is not Inception's published file .*so it was not unpickled"):
        inception(place)
    assert not sprung.exists()
    torch.load(place, weights_only=False) if how == "torch.save" else pickle.loads(place.read_bytes())
    assert sprung.exists()  # the trap was armed


def test_the_published_name_alone_does_not_make_a_file_trusted(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save(Trap(sprung), cached(tmp_path))
    with pytest.raises(ValueError, match=r"begins with [0-9a-f]{8}, wanted 6726825d"):
        inception()
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut"])
def test_a_damaged_cache_is_refused_in_one_sentence(tmp_path, content):
    cached(tmp_path, content)
    with pytest.raises(ValueError, match="holds more than tensors or is damaged"):
        inception()


@pytest.mark.parametrize("held", [{"fc.bias": torch.zeros(3)}, [torch.zeros(3)]])
def test_tensors_of_another_network_are_refused(tmp_path, held):
    place = tmp_path / "tensors.pth"
    torch.save(held, place)
    with pytest.raises(ValueError, match=r"tensors\.pth does not hold Inception's weights \(.*\): name another file"):
        inception(place)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server, of files, with what passes for the published weights."""
    source = tmp_path / "server" / "weights.pth"
    source.parent.mkdir()
    torch.save({"fc.bias": torch.zeros(3)}, source)
    monkeypatch.setattr(inception_weights, "_URL", source.as_uri())
    monkeypatch.setattr(inception_weights, "SHA256", sha256_of(source))
    monkeypatch.delenv("COURSE_OFFLINE")
    return source


def test_a_download_is_verified_and_kept_where_torch_hub_looks(tmp_path, published):
    found = inception_weights.inception_weights()
    assert found.path == tmp_path / "torch/hub/checkpoints/weights-inception-2015-12-05-6726825d.pth"
    assert found.path.read_bytes() == published.read_bytes()
    assert (found.name, found.sha256) == ("inception-v3", sha256_of(published))
    published.unlink()
    assert inception_weights.inception_weights() == found


def test_a_download_that_fails_or_brings_something_else_leaves_nothing(tmp_path, published):
    published.write_bytes(b"a proxy's greeting")
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(what came has a SHA-256 that begins with"):
        inception()
    published.unlink()
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*or use cifar_cnn"):
        inception()
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def test_the_best_extractor_is_inception_where_its_weights_and_its_reference_are_here(
    classifier, tmp_path, monkeypatch
):
    monkeypatch.setattr(shipped_files, "SHIPPED", tmp_path)
    monkeypatch.chdir(tmp_path)
    path = classifier[1].rename(tmp_path / "cifar-cnn.safetensors")
    (tmp_path / "SHA256SUMS").write_text(f"{sha256_of(path)}  {path.name}\n")
    told = []
    assert best_extractor(tell=told.append).name == "cifar-cnn"
    place = cached(tmp_path)
    torch.save({"fc.bias": torch.zeros(3)}, place)
    assert best_extractor(tell=told.append).name == "cifar-cnn"
    assert told[0] == "Extractor: cifar-cnn, since Inception's weights are not on this machine."
    assert told[1].startswith("Extractor: cifar-cnn, since Inception's weights are here, but not CIFAR-10's reference")

    sha256 = sha256_of(place)
    kept = kept_reference(f"inception-v3, sha256 {sha256[:8]}", sha256)
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(ValueError, match="does not hold Inception's weights"):
        best_extractor(tell=told.append)  # it was Inception's file that it took
    assert told[2].startswith("Extractor: inception-v3, since its weights and its reference of CIFAR-10 are here")


def precisions():
    return [part.fp32_precision for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv)]


@pytest.fixture
def tf32_products():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    yield
    matmul.fp32_precision = before


def test_an_extractor_works_in_true_float32_and_puts_back_what_was_set(tf32_products):
    before, seen = precisions(), []
    assert before == ["tf32", "tf32"]  # torch's default for convolutions

    def looking(images):
        seen.append(precisions())
        return images.float().flatten(1)

    extractor_from("looking", looking)(pictures(2))

    def failing(images):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        extractor_from("failing", failing)(pictures(2))
    assert (seen, precisions()) == ([["ieee", "ieee"]], before)
