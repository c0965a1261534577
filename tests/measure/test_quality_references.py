"""References survive their file to the bit (their features to float16); other files are named and refused."""

import pytest
import torch
from safetensors.torch import save_file

from course_utils import shipped as shipped_files
from course_utils.measure.quality import (
    Features,
    Reference,
    Statistics,
    kernel_distance,
    load_reference,
    reference,
    reference_from,
    save_references,
)
from course_utils.measure.quality.references import KEPT


def features(n, of, seed=0, width=4, extractor="net", sha256="ab" * 32):
    values = torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Features(values, extractor, sha256, of)


@pytest.fixture
def splits():
    return {
        "train": reference_from(features(300, "real, train"), kept=200),
        "test": reference_from(features(90, "t", 1)),
    }


@pytest.fixture
def path(tmp_path, splits):
    return save_references(tmp_path / "made" / "references.safetensors", splits)


def test_the_statistics_are_of_all_images_and_the_kept_features_of_the_first(splits):
    train = splits["train"]
    assert (train.n, train.features.n, train.of, train.extractor) == (300, 200, "real, train", "net")
    torch.testing.assert_close(train.statistics.covariance, features(300, "").values.T.cov())
    assert torch.equal(train.features.values, features(300, "").values[:200])
    assert splits["test"].features.n == 90
    assert reference_from(features(KEPT + 1, "many")).features.n == KEPT


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_gives_back_what_was_written(path, splits, split):
    known, wanted = load_reference(path, split), splits[split]
    assert torch.equal(known.statistics.mean, wanted.statistics.mean)
    assert torch.equal(known.statistics.covariance, wanted.statistics.covariance)
    for what in ("n", "of", "extractor", "sha256"):
        assert getattr(known, what) == getattr(wanted, what)
        assert what == "n" or getattr(known.features, what) == getattr(wanted, what)
    torch.testing.assert_close(known.features.values, wanted.features.values, rtol=2**-11, atol=1e-7)
    assert known.features.values.dtype == torch.float64
    assert sorted(child.name for child in path.parent.iterdir()) == [path.name]


def test_halved_precision_of_the_kept_features_hardly_moves_a_kernel_distance(path, splits):
    other = features(100, "other", 5)
    before = kernel_distance(other, splits["train"].features)
    assert kernel_distance(other, load_reference(path).features) == pytest.approx(before, abs=1e-4)


def test_features_too_large_for_float16_are_refused_and_nothing_is_written(tmp_path):
    large = reference_from(Features(torch.full((3, 2), 1e5, dtype=torch.float64), "net", "", "bright"))
    with pytest.raises(ValueError, match=r"'bright' is too large for float16, whose largest number is 65,504"):
        save_references(tmp_path / "references.safetensors", {"train": large})
    assert not list(tmp_path.iterdir())


def test_a_missing_file_and_a_missing_split_are_named(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of references .*nothing\.safetensors"):
        load_reference(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="holds no split 'validation': choose from train, test"):
        load_reference(path, "validation")


@pytest.mark.parametrize("share", [0, 0.01, 0.9])
def test_a_cut_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="damaged or not a file of references"):
        load_reference(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "is a safetensors file but holds no references"),
        ({"references": '{"format": 9}'}, "in format 9, wanted 1"),
        ({"references": "{"}, "damaged or not a file of references"),
        ({"references": '{"format": 1, "splits": {"train": {"n": 3}}}'}, "damaged or not a file of references"),
    ],
)
def test_other_safetensors_are_told_apart(tmp_path, header, said):
    place = tmp_path / "other.safetensors"
    tensors = {"train.mean": torch.zeros(2), "train.covariance": torch.eye(2), "train.features": torch.zeros(3, 2)}
    save_file(tensors, place, metadata=header)
    with pytest.raises(ValueError, match=said):
        load_reference(place)


def test_statistics_and_features_of_unlike_extractors_make_no_reference():
    with pytest.raises(ValueError, match="another sha256"):
        Reference(features(9, "these").statistics(), features(9, "those", sha256="cd" * 32))


def test_the_shipped_reference_is_verified_before_it_is_read(path, splits, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_files, "SHIPPED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'reference-cifar-cnn.safetensors' is not among the shipped files"):
        reference()
    target = path.replace(tmp_path / "reference-cifar-cnn.safetensors")
    (tmp_path / "SHA256SUMS").write_text(f"{shipped_files.sha256_of(target)}  {target.name}\n")
    assert reference().of == "real, train"
    assert reference("test").n == 90
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"is damaged.*git checkout -- data/reference-cifar-cnn.safetensors"):
        reference()


def test_a_reference_prints_its_counts(splits):
    assert isinstance(splits["train"].statistics, Statistics)
    cells = str(splits["train"]).splitlines()[-1].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == ["real, train", "300", "200", "4", "net"]
