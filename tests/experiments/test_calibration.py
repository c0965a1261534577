"""The calibration's doses are what they say, its rows survive a stop, and order is found where it is."""

import shlex

import pytest
import torch

from course_utils.diffusion import ImageSet, procedural_images
from course_utils.experiments import calibration
from course_utils.experiments.calibration import checkpoint_rows, image_rows, ordering
from course_utils.experiments.calibration_doses import FAMILIES, doses, held_apart, less
from course_utils.experiments.damage import blur
from course_utils.experiments.row_files import fill
from course_utils.measure import load, record
from course_utils.measure.quality import extract, frechet_distance, kernel_distance

N = 50


@pytest.fixture
def test_set():
    return procedural_images("test", n=2 * N)


@pytest.fixture
def train_set(small_pictures):
    images = procedural_images("train", n=900)
    return ImageSet("train", small_pictures("train", 900), images.labels, images.classes, "here", False)


def test_every_dose_has_the_same_number_of_images_and_is_the_damage_it_names(test_set):
    made = doses(test_set, N)
    assert [dose.family for dose in made[1:]] == [name for name in FAMILIES[1:-1] for _ in range(3)]
    piles = {(dose.family, dose.label): dose.images() for dose in made}
    assert {len(pile) for pile in piles.values()} == {N}
    assert torch.equal(piles["undamaged", "test images"], test_set.images[:N])
    assert torch.equal(piles["blur", "sigma 0.5 px"], blur(test_set.images[:N], 0.5))
    assert len(piles["duplicates", "each 10 times"].unique(dim=0)) == 5
    of_class_4 = test_set.images[test_set.labels == 4]
    left = piles["classes", "5 of 10 missing"]
    assert not any((left == image).flatten(1).all(1).any() for image in of_class_4)
    for family in FAMILIES[1:-1]:
        strengths = [dose.strength for dose in made if dose.family == family]
        assert strengths == sorted(strengths)
        assert strengths[0] > 0


def test_more_images_than_half_the_classes_leave_are_refused(test_set):
    with pytest.raises(ValueError, match="n is 51, but without 5 classes 50 of the test images are left"):
        doses(test_set, N + 1)


def test_statistics_without_some_images_are_those_of_the_others(judge, train_set):
    every = extract(judge.extractor, train_set.images, of="all")
    apart = extract(judge.extractor, held_apart(train_set, judge.reference, N).images(), of="apart")
    rest = every.without(slice(200, 200 + N)).statistics()
    found = less(judge.reference.statistics, apart)
    assert found.n == 900 - N
    torch.testing.assert_close(found.mean, rest.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.covariance, rest.covariance, rtol=1e-9, atol=1e-12)
    assert found.of == "procedural train, without 50 held apart"


def test_images_are_held_apart_from_their_own_reference_alone(judge, train_set):
    with pytest.raises(ValueError, match="there are 100 training images, for a reference of 900"):
        held_apart(procedural_images("train", n=100), judge.reference, N)
    with pytest.raises(ValueError, match="more than 900 of them"):
        held_apart(train_set, judge.reference, 700)


def test_rows_are_the_distances_of_their_images_and_go_on_where_they_were_stopped(judge, train_set, tmp_path):
    test = procedural_images("test", n=2 * N)
    test = ImageSet("test", test.images, test.labels, test.classes, "here", False)
    path, rows = tmp_path / "calibration.jsonl", image_rows(test, train_set, judge, N)
    fill(path, rows[:3], "calibration")
    records = fill(path, rows, "calibration")
    assert len(records) == len(load(path)) == 2 * len(rows) == 34
    by_name = {(one.name, one.kind): one for one in records}

    features = extract(judge.extractor, blur(test.images[:N], 2.0), of="blurred")
    fd, kd = (by_name["blur: sigma 2 px", f"{kind} (cifar-cnn)"] for kind in ("FD", "KD"))
    assert fd.value == pytest.approx(frechet_distance(features, judge.reference.statistics), rel=1e-12)
    assert kd.value == pytest.approx(kernel_distance(features, judge.reference.features), rel=1e-12)
    assert fd.low < fd.value < fd.high
    assert {key: fd.config[key] for key in ("family", "strength", "label", "n", "extractor", "sha256", "images")} == {
        "family": "blur",
        "strength": 2.0,
        "label": "sigma 2 px",
        "n": N,
        "extractor": "cifar-cnn",
        "sha256": "abc123",
        "images": "procedural images, not CIFAR-10 test",
    }
    apart = by_name["undamaged: training images held apart", "FD (cifar-cnn)"]
    assert apart.config["reference"] == "850 of procedural train, without 50 held apart"
    assert [row[0] for row in ordering(records).rows] == [name for name in FAMILIES[1:-1] for _ in range(2)]


def test_a_model_that_is_shipped_gets_a_row_with_its_loss(shipped_kit, judge, test_set, tmp_path):
    rows = checkpoint_rows(test_set, judge, 20)
    assert [row.name for row in rows] == [
        "undamaged: 20 test images",
        "training: untrained",
        "training: 25 % of its training",
        "training: 50 % of its training",
        "training: 100 % of its training",
    ]
    records = fill(tmp_path / "c.jsonl", rows[:2] + rows[4:], "calibration")
    of = {one.name: one for one in records if one.kind == "held-out loss"}
    assert set(of) == {"training: untrained", "training: 100 % of its training"}
    assert [one.config["images_seen"] for one in of.values()] == [0, 1_000]
    values = [one.value for one in records if one.kind == "FD (cifar-cnn)"]
    assert values[1] == values[2], "the small kit's base is untrained, from the same seed"


def one_of(family, strength, value, n=100, kind="FD (cifar-cnn)", images="CIFAR-10 test", margin=0.05):
    config = {"family": family, "strength": strength, "n": n, "images": images}
    bounds = {} if margin is None else {"low": value - margin, "high": value + margin}
    return record(kind, f"{family} {strength}", config, value, "", **bounds, manifest={"made": "up"})


def test_order_is_found_where_it_is_and_missed_where_it_is_not():
    records = [
        one_of("undamaged", 0, 1.0),
        one_of("undamaged", 0, 0.5, images="CIFAR-10 train"),
        one_of("undamaged", 0, 9.0, n=10),
        one_of("blur", 2, 4.0),
        one_of("blur", 1, 2.0),
        one_of("noise", 1, 0.9),
        one_of("noise", 2, 3.0),
        one_of("duplicates", 2, 5.0),
        one_of("duplicates", 10, 5.0),
        one_of("training", 0, 10.0, n=10),
        one_of("training", 50, 12.0, n=10),
        one_of("training", 0, 0.1, n=10, kind="held-out loss"),
        one_of("training", 50, 0.3, n=10, kind="held-out loss"),
        one_of("JPEG", 1, 2.0, margin=None),
        one_of("classes", 1, 1.5),
        one_of("classes", 3, 1.58),
        one_of("classes", 5, 1.45, margin=0.04),
    ]
    assert [tuple(row) for row in ordering(records).rows] == [
        ("blur", "FD (cifar-cnn)", "100", "1  2  4", "yes"),
        ("noise", "FD (cifar-cnn)", "100", "1  0.9  3", "not distinguishable"),
        ("duplicates", "FD (cifar-cnn)", "100", "1  5  5", "not distinguishable"),
        ("training", "FD (cifar-cnn)", "10", "9  10  12", "yes"),
        ("training", "held-out loss", "10", "0.1  0.3", "yes"),
        ("JPEG", "FD (cifar-cnn)", "100", "1  2", "not distinguishable"),
        ("classes", "FD (cifar-cnn)", "100", "1  1.5  1.58  1.45", "WRONG"),
    ]
    assert ordering([one_of("blur", 1, 2.0)]).rows[0][-1] is None, "one value is in no order"


@pytest.fixture
def as_cifar(shipped_kit, train_set, monkeypatch):
    """Small images that pass for CIFAR-10."""

    def load_images(split, **_):
        found = train_set if split == "train" else procedural_images("test", n=2 * N)
        return ImageSet(split, found.images, found.labels, found.classes, "here", True)

    monkeypatch.setattr(calibration, "load_images", load_images)


def test_a_recorded_command_measures_the_same_numbers_anew(as_cifar, capsys):
    words = ["-n", str(N), "--pictures", "20", "--only", "JPEG", "duplicates", "--out", "first.jsonl"]
    assert calibration.main(words) == 0
    assert "duplicates" in capsys.readouterr().out
    first = load("first.jsonl")
    assert len(first) == 12
    (again,) = {one.config["command"] for one in first if one.config["family"] == "JPEG"}
    assert again.startswith("python -m course_utils.experiments.calibration -n 50 --only JPEG")
    assert calibration.main(shlex.split(again)[3:]) == 0
    anew = {one.name: (one.kind, one.value, one.low, one.high) for one in load("results/local/calibration.jsonl")}
    assert anew == {
        one.name: (one.kind, one.value, one.low, one.high) for one in first if one.config["family"] == "JPEG"
    }
    assert calibration.main(words) == 0
    assert load("first.jsonl") == first, "nothing is measured twice"


def test_only_cifar10_calibrates(shipped_kit, monkeypatch, test_set):
    monkeypatch.setattr(calibration, "load_images", lambda *_, **__: test_set)
    with pytest.raises(ValueError, match="only CIFAR-10 calibrates"):
        calibration.main([])
