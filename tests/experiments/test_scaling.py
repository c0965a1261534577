"""Training steps in several layouts: what is compared, how, and what two real processes record."""

import pytest
import torch

from course_utils.diffusion import LossModule, baseline, denoising_loss, procedural_images, to_float
from course_utils.experiments.layouts import ALONE, KIND, Layout, Scaling, layouts, scaling_of
from course_utils.experiments.noise_scale import squared_norms
from course_utils.experiments.scaling import GPU_FLOP, GPU_WEIGHTS, main, predicted
from course_utils.measure import count, load


def names(found):
    return [layout.name for layout in found]


def test_two_processes_on_a_cpu_are_held_against_threads_copies_and_silence():
    assert names(layouts(2, 8, True)) == [
        "1 process", "1 process, 2 threads", "1 process, 2 copies",
        "2 processes, 8 each", "2 processes, 4 each", "2 processes, 8 each, no exchange",
    ]  # fmt: skip


def test_gpus_are_counted_up_by_powers_of_two_and_batches_that_do_not_divide_stay_whole():
    assert names(layouts(6, 8, False)) == [
        "1 process",
        "2 processes, 8 each", "2 processes, 4 each", "2 processes, 8 each, no exchange",
        "4 processes, 8 each", "4 processes, 2 each", "4 processes, 8 each, no exchange",
        "6 processes, 8 each", "6 processes, 8 each, no exchange",
    ]  # fmt: skip
    assert names(layouts(1, 8, True)) == ["1 process"]


def test_speed_is_in_images_from_pairs_of_one_round():
    """Two processes with twice the images, in 1.25 times the time of the same round: 1.6 times the images a second."""
    alone, both = Layout(1, 8), Layout(2, 8)
    base = (1.0, 2.0, 1.0, 4.0, 1.0)
    scaling = Scaling({alone: base, both: tuple(1.25 * taken for taken in base)})
    speed = scaling.speedup("2 processes, 8 each")
    assert (speed.value, speed.low, speed.high) == pytest.approx((1.6, 1.6, 1.6))
    assert scaling.efficiency("2 processes, 8 each") == pytest.approx(0.8)
    assert scaling.median_s(ALONE) == 1.0
    assert "80%" in str(scaling)
    with pytest.raises(ValueError, match="no layout is called '3', wanted one of '1 process', '2 processes, 8 each'"):
        scaling.layout("3")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What two processes write and print."""
    out = tmp_path_factory.mktemp("scaling") / "scaling.jsonl"
    words = ["--processes", "2", "--batch-size", "4", "--rounds", "3", "--scale", "smoke", "--device", "cpu"]
    assert main([*words, "--out", str(out)]) == 0
    return load(out)


def test_two_processes_record_every_layout(recorded):
    assert [one.name for one in recorded] == names(layouts(2, 4, True))
    for one in recorded:
        assert (one.kind, one.unit, one.n) == (KIND, "s", 3)
        assert 0 < one.low <= one.value <= one.high
        assert one.config["world_size"] == len(one.config["ranks"]) == 2
        assert one.manifest["devices"] == 2
    assert "2 processes, 2 each" in str(scaling_of(recorded))
    with pytest.raises(ValueError, match="no record of kind 'training step by processes' among 0"):
        scaling_of([])


def test_nonsense_is_refused_before_anything_starts():
    for words in (["--processes", "0"], ["--batch-size", "0"], ["--rounds", "0"]):
        with pytest.raises(ValueError, match="--batch-size, --rounds and --processes must be positive"):
            main(words)


def test_the_prediction_knows_the_network_it_is_about():
    """Weights as the library builds them; FLOP of a forward and a backward pass, counted on two images."""
    patient = baseline("gpu")
    assert patient.num_parameters == GPU_WEIGHTS
    loss_of = LossModule(patient.model, patient.process, denoising_loss)
    given = torch.zeros(2, 3, 32, 32), torch.tensor([1, 500]), torch.zeros(2, 3, 32, 32)
    work = count(lambda *parts: loss_of(*parts).backward(), *given, per_module=False)
    assert pytest.approx(work.flop / 2, rel=0.02) == GPU_FLOP


def test_the_prediction_states_its_link_and_refuses_another():
    said = str(predicted("NVLink 3"))
    assert "1,024" in said
    assert "one ring of NVLink 3: 3.40 us a message, 300 GB/s one way" in said
    with pytest.raises(ValueError, match="link is 'string', wanted one of NVLink 4, NVLink 3"):
        predicted("string")


def test_norms_of_shards_and_of_their_mean_are_those_of_autograd():
    """The mean gradient of the shards is the gradient of the whole batch, taken in one piece."""
    patient, images = baseline("smoke"), procedural_images(n=12).images
    patient.model.eval()
    small_square, large_square = squared_norms(patient, images, 3, 4, seed=5)
    random = torch.Generator().manual_seed(5)
    drawn = [
        (torch.randint(1000, (3,), generator=random), torch.randn(3, 3, 32, 32, generator=random)) for _ in range(4)
    ]
    x_0, t, eps = to_float(images), *(torch.cat(part) for part in zip(*drawn, strict=True))
    weights = list(patient.model.parameters())

    def square(own):
        loss = denoising_loss(patient.model, patient.process, x_0[own], t[own], eps[own]).mean()
        return sum(part.square().sum().item() for part in torch.autograd.grad(loss, weights))

    assert large_square == pytest.approx(square(slice(None)), rel=1e-4)
    shards = [square(slice(start, start + 3)) for start in range(0, 12, 3)]
    assert small_square == pytest.approx(sum(shards) / 4, rel=1e-4)
    with pytest.raises(ValueError, match="wanted 2 shards or more and 16 images, got small=4 shards=4 and 12 images"):
        squared_norms(patient, images, 4, 4)
