"""The ladder at smoke scale: rows are found, variants agree, counters are exact, each number becomes a record."""

import denoising_diffusion_pytorch.denoising_diffusion_pytorch as library
import pytest
import torch
from accelerate.state import PartialState
from torch.utils.data import DataLoader

from course_utils.diffusion import baseline, load_images, scale
from course_utils.experiments import bench
from course_utils.experiments.rows import Setting, data_loading, sampling, training_step
from course_utils.experiments.rows.data_loading import write_pngs
from course_utils.experiments.rows.training_step import trainer_step
from course_utils.measure import Comparison, Timing, count, load


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("course_utils.experiments.rows.compiler", lambda: None)  # compiling a U-Net takes minutes


def test_the_rows_are_listed_in_the_order_of_the_pipeline(capsys):
    assert bench.main(["--scale", "smoke", "--list"]) == 0
    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert [name for name in names if not name.startswith(("No CIFAR", "Left out"))] == [
        "data loading",
        "forward",
        "training step, batch 16",
        "sampling",
        "forward, cheaper network",
        "training step, cheaper network",
        "convolution, 8 x 8",
        "convolution, 32 x 32",
    ]


def test_a_pattern_that_matches_nothing_is_told():
    with pytest.raises(ValueError, match="--only 'warp drive' matches no row"):
        bench.main(["--scale", "smoke", "--only", "warp drive"])


def test_the_ladder_is_measured_and_recorded(capsys, tmp_path):
    rows = "^(data loading|forward|training step, batch 16|sampling)$"
    assert bench.main(["--scale", "smoke", "--max-time", "2", "--only", rows]) == 0
    printed = capsys.readouterr().out
    label = load_images(n=1).label  # real CIFAR-10 where this checkout has it
    assert f"images: {label}" in printed
    assert "Left out: what is compiled, since there is no C++ compiler here" in printed
    records = {r.name: r for r in load(tmp_path / "results" / "local" / "bench-smoke.jsonl") if r.kind == "bench"}
    assert len(records) == 2 + (2 + 3) + (2 + 3) + 3
    forward = records["forward: library, eager fp32"]
    x_t, t = torch.zeros(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    assert forward.config["flop"] == count(baseline("smoke").model, x_t, t, per_module=False).flop
    assert records["forward: keeping what backward needs"].config["max_difference"] == 0.0
    assert records["sampling: the kit's ddim"].config["max_difference"] < 1e-5
    assert records["sampling: library"].config["flop"] == records["sampling: the kit's ddim"].config["flop"]
    trainer = records["training step, batch 16: library's Trainer"].config
    assert trainer["flop"] == records["training step, batch 16: the kit's loop"].config["flop"]
    for made in records.values():
        assert made.low <= made.value <= made.high
        assert made.manifest["batch"] == made.config["batch"] or made.config["row"] == "data loading"
        assert made.config["images"] == label


def test_every_promise_of_the_ladder_comes_with_its_verdict(capsys, tmp_path):
    assert bench.main(["--scale", "smoke", "--max-time", "2", "--only", "^(forward|convolution, 8 x 8)$"]) == 0
    printed = capsys.readouterr().out
    told = {r.name: r.config for r in load(tmp_path / "results" / "local" / "bench-smoke.jsonl")}
    for name, exactness in (("channels_last", "exact"), ("bf16", "approximate")):
        config = told.get(f"forward: {name}", {})
        assert config["verdict"] in ("preserved and faster", "faster but worse", "not faster", "inconclusive")
        assert config["exactness"] == exactness
    assert "Missing for a treatment that is approximate: same denoiser." in printed  # no trained weights at this scale
    for way in ("im2col", "loops"):
        (found,) = told[f"convolution, 8 x 8: {way}"]["evidence"]
        assert (found["kind"], found["outcome"]) == ("same function", "preserved")


def test_a_long_first_call_is_told_with_the_calls_that_win_it_back():
    timings = {
        "eager": Timing((1.0,) * 5, 1.0, 1),
        "compiled": Timing((0.5,) * 5, 101.0, 1),
        "worse": Timing((2.0,) * 5, 200.0, 1),
    }
    race = Comparison("eager", timings, dict.fromkeys(timings), dict.fromkeys(timings), None, ())
    assert bench.pays_off(race, "compiled").endswith("longer, won back after 200 calls.")
    assert bench.pays_off(race, "worse") == ""
    assert bench.pays_off(race, "eager") == ""


def test_the_trainer_works_where_it_was_told_and_not_on_the_accelerator_it_finds(monkeypatch, tmp_path):
    monkeypatch.setattr(PartialState, "default_device", torch.device("meta"))
    images = load_images(n=128)
    setting = Setting(scale("smoke"), images, torch.device("cpu"), tmp_path)
    folder = write_pngs(images, tmp_path / "png", 128)
    trainer_step(setting, folder, 16)()
    monkeypatch.setattr("course_utils.diffusion.Diffusion.to", lambda self, device: self)
    monkeypatch.setattr(PartialState, "default_device", torch.device("cpu"))
    elsewhere = Setting(scale("smoke"), images, torch.device("cuda"), tmp_path)
    with pytest.raises(RuntimeError, match="the Trainer works on cpu, wanted cuda"):
        trainer_step(elsewhere, folder, 16)


def test_no_loader_takes_more_workers_than_cores_are_granted(monkeypatch, tmp_path):
    asked = []

    class Noting(DataLoader):
        def __init__(self, *args, num_workers, **options):
            asked.append(num_workers)
            super().__init__(*args, num_workers=0, **options)

    monkeypatch.setattr(library, "DataLoader", Noting)
    monkeypatch.setattr(data_loading, "DataLoader", Noting)
    for row in (data_loading, training_step):
        monkeypatch.setattr(row, "cores_granted", lambda: 3)
    setting = Setting(scale("smoke"), load_images(n=128), torch.device("cpu"), tmp_path)
    folder = write_pngs(setting.images, tmp_path / "png", 128)
    assert data_loading.library_pass(folder, 16)() == 128
    trainer_step(setting, folder, 16)
    assert asked == [3, 3]


def test_both_samplers_draw_the_same_images_and_leave_the_generator_alone(tmp_path):
    (row,) = sampling.ROWS(Setting(scale("smoke"), load_images(n=4), torch.device("cpu"), tmp_path))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    claimed = row.claims["the kit's ddim"]
    (evidence,) = claimed.evidence()
    assert (claimed.exactness, evidence.kind, evidence.outcome) == ("exact", "same function", "preserved")
    assert evidence.n == 2 * 3 * 32 * 32
    assert torch.equal(torch.get_rng_state(), before)
