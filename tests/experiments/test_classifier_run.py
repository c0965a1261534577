"""The classifier's run: it learns, goes on after a stop as if nothing happened, and shifts and mirrors as it says."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from course_utils.diffusion import ImageSet, to_float
from course_utils.experiments import classifier_run
from course_utils.measure.quality.cifar_cnn import CifarCNN

PARTS = (4, 4, 8, 8)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A classifier of few channels, and runs in a temporary folder."""
    monkeypatch.setattr(classifier_run, "CifarCNN", lambda: CifarCNN(PARTS))
    monkeypatch.chdir(tmp_path)


def image_set(n=32, classes=10, is_cifar10=True):
    """Images of random grey levels on a ground that tells the class."""
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(n) % classes
    noise = torch.randint(40, (n, 3, 32, 32), generator=random)
    images = (noise + 20 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet("train", images, labels, tuple("abcdefghij"), "this test", is_cifar10)


def train(folder, epochs=3, seed=0, images=None):
    return classifier_run.train_classifier(images or image_set(), epochs, 8, seed, "cpu", folder)


def weights(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_stopped_between_or_within_epochs_it_goes_on_exactly(tmp_path, monkeypatch):
    straight = weights(train(tmp_path / "straight"))
    calls, augmented = itertools.count(1), classifier_run._augmented

    def interrupted(x, random):
        if next(calls) == 7:  # the third of the four steps of the second epoch
            raise KeyboardInterrupt
        return augmented(x, random)

    monkeypatch.setattr(classifier_run, "_augmented", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parted")
    run = train(tmp_path / "parted")
    assert next(calls) == 7 + 8 + 1  # the interrupted epoch again, and the last one
    assert_same(weights(run), straight)
    assert (run.epoch, run.model.training) == (3, False)


def test_a_complete_run_is_not_trained_further(tmp_path):
    before = train(tmp_path / "run")
    after = train(tmp_path / "run")
    assert_same(weights(before), weights(after))
    assert after.seconds == before.seconds


def test_the_seed_decides_the_weights(tmp_path):
    first, again, other = (train(tmp_path / name, 1, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert_same(weights(first), weights(again))
    assert not torch.equal(first.model.head.weight, other.model.head.weight)


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    train(tmp_path / "run", 1)
    for other in ({"epochs": 2}, {"seed": 1}):
        with pytest.raises(ValueError, match=r"holds a run with .* choose another --out"):
            train(tmp_path / "run", **{"epochs": 1, **other})


def test_a_state_of_another_kind_is_refused(tmp_path):
    place = tmp_path / "run" / "state.pt"
    train(place.parent, 1)
    state = torch.load(place, weights_only=True)
    del state["options"]  # nobody could tell which run this is
    torch.save(state, place)
    with pytest.raises(
        ValueError, match=r"state\.pt is not the state of such a run: remove it, or choose another --out"
    ):
        train(place.parent, 1)
    place.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"state\.pt is damaged or something else: remove it, or choose another --out"):
        train(place.parent, 1)


def test_a_batch_of_more_images_than_there_are_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--batch-size is 8, but there are 4 images"):
        train(tmp_path / "run", images=image_set(4))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epochs", "0"], "--epochs is 0, but must be at least 1"),
        (["--batch-size", "-8"], "--batch-size is -8, but must be at least 1"),
        (["--device", "gpu"], "--device is 'gpu', wanted cpu, cuda"),
    ],
)
def test_options_are_checked_before_images_are_loaded(monkeypatch, words, sentence):
    monkeypatch.setattr(classifier_run, "load_images", None)
    with pytest.raises(ValueError, match=sentence):
        classifier_run.main(words)


def test_it_learns_what_can_be_learned(tmp_path):
    images = image_set(64, classes=2)
    images.images[images.labels == 1] += 100
    run = train(tmp_path / "run", 4, images=images)
    assert classifier_run.accuracy(run.model, images) == 1.0


class ByFirstPixel(nn.Module):
    """Says the class that the first pixel is told to be."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return nn.functional.one_hot(x[:, 0, 0, 0].add(1).mul(127.5).round().long(), 10).float()


@pytest.mark.parametrize("batch_size", [1, 3, 500])
def test_accuracy_is_the_share_of_right_answers(batch_size):
    images = image_set(10)
    said = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 0, 0])  # labels are 0 to 9: seven are right
    images.images[:, 0, 0, 0] = said.to(torch.uint8)
    assert classifier_run.accuracy(ByFirstPixel(), images, batch_size) == 0.7


def placed(image, down, right, mirrored):
    """One image (C, H, H) moved by hand, pixel by pixel, with what it leaves filled by reflection at the edge."""
    size = image.shape[-1]

    def inside(i):
        i = -i if i < 0 else i
        return 2 * (size - 1) - i if i >= size else i

    moved = torch.empty_like(image)
    for i, j in itertools.product(range(size), repeat=2):
        column = size - 1 - j if mirrored else j
        moved[:, i, j] = image[:, inside(i + down), inside(column + right)]
    return moved


def test_augmentation_moves_by_up_to_four_pixels_and_mirrors_half():
    x = to_float(torch.arange(256).to(torch.uint8).reshape(1, 1, 16, 16))
    shifts = range(-classifier_run.SHIFT, classifier_run.SHIFT + 1)
    by_hand = {
        tuple(placed(x[0], *way).flatten().tolist()): way for way in itertools.product(shifts, shifts, (False, True))
    }
    assert len(by_hand) == 9 * 9 * 2
    made = classifier_run._augmented(x.expand(3_240, -1, -1, -1), torch.Generator().manual_seed(0))
    ways = [by_hand[tuple(image.flatten().tolist())] for image in made]
    assert set(ways) == set(by_hand.values())  # each is expected 20 times
    mirrored = sum(way[2] for way in ways) / len(ways)
    assert mirrored == pytest.approx(0.5, abs=4 * 0.5 / len(ways) ** 0.5)


def test_images_of_a_batch_are_moved_each_on_its_own():
    x = to_float(torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)))
    made = classifier_run._augmented(x[:1].expand(64, -1, -1, -1), torch.Generator().manual_seed(0))
    assert len({tuple(image.flatten().tolist()) for image in made}) > 30


def test_the_learning_rate_rises_for_a_fifth_and_falls_to_nothing():
    assert [classifier_run._triangle(done) for done in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_the_command_leaves_weights_and_a_card(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classifier_run, "load_images", lambda split: image_set(32 if split == "train" else 20))
    assert classifier_run.main(["--epochs", "1", "--batch-size", "8", "--device", "cpu", "--out", "run"]) == 0
    told = json.loads((tmp_path / "run" / "cifar-cnn.json").read_text())
    model = CifarCNN(PARTS).eval()
    model.load_state_dict(load_file(tmp_path / "run" / "cifar-cnn.safetensors"))
    assert told["test_accuracy"] == classifier_run.accuracy(model, image_set(20))
    assert (told["test_images"], told["options"]) == (20, {"epochs": 1, "batch_size": 8, "seed": 0})
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert told["seconds"] == round(state["seconds"], 1)
    assert f"{told['test_accuracy']:.2%} of 20 test images right" in capsys.readouterr().out


def test_stand_ins_teach_it_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier_run, "load_images", lambda split: image_set(is_cifar10=False))
    with pytest.raises(ValueError, match="learns from CIFAR-10 alone"):
        classifier_run.main(["--out", "run"])
    assert not (tmp_path / "run").exists()
