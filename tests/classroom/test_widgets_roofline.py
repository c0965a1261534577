"""The roofline explorer: counts against real ones and hand counts, times by hand, every control over its range."""

import pytest
import torch

from course_utils.classroom.step_model import Limits
from course_utils.classroom.widgets import RooflineExplorer, unet_counts
from course_utils.classroom.widgets.roofline_scene import Setting, network, spots
from course_utils.classroom.widgets.unet_counts import BATCHES, WIDTHS, Structure, built, counted, unet_work
from course_utils.measure import DATASHEETS, Ceilings, count, detect

SMALL = (1, 2)


@pytest.fixture
def explorer(monkeypatch):
    """On a made-up device with three formats, 1 TFLOP/s, 100 GB/s, 1 us a launch."""
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    rates = {"fp32": 1e12, "bf16": 2e12, "fp16": 4e12}
    return RooflineExplorer(Ceilings(detect("cpu"), rates, 1e11, 5e11, 1e-6))


# counts


@pytest.mark.parametrize(
    ("structure", "width", "batch"),
    [
        (Structure(SMALL), 24, 3),
        (Structure(SMALL, 2), 40, 1),
        (Structure(SMALL, 4, True), 24, 5),
        (Structure((1, 2, 4), 2, True), 16, 1),
    ],
)
def test_what_is_calculated_is_what_is_counted(structure, width, batch):
    """On and between the counted sizes, block by block; so the shipped counts fit this torch too."""
    assert unet_work(structure).at(width, batch) == counted(structure, width, batch)


@pytest.mark.parametrize(("width", "batch"), [(16, 1), (48, 7), (128, 512)])
def test_convolutions_at_the_ends_are_those_counted_by_hand(width, batch):
    blocks = unet_work(Structure(SMALL)).at(width, batch)
    pixels = batch * 32 * 32
    assert blocks["init_conv"].flop == 2 * pixels * width * 3 * 7 * 7
    assert blocks["init_conv"].bytes_moved == 4 * (pixels * (3 + width) + width * 3 * 49 + width)
    assert blocks["final_conv"].flop == 2 * pixels * 3 * width
    assert blocks["final_conv"].bytes_moved == 4 * (pixels * (3 + width) + 3 * width + 3)


def test_a_bottleneck_saves_flop_and_im2col_costs_bytes():
    plain, narrow, unfolded = (
        unet_work(one).at(64, 16) for one in (Structure(SMALL), Structure(SMALL, 2), Structure(SMALL, 1, True))
    )
    assert narrow["ups.0.0"].flop < plain["ups.0.0"].flop / 2
    assert unfolded["ups.0.0"].flop == plain["ups.0.0"].flop
    assert unfolded["ups.0.0"].bytes_moved > 3 * plain["ups.0.0"].bytes_moved


def test_half_as_wide_numbers_are_half_the_bytes_of_a_network_stored_so():
    with torch.no_grad():
        stored = built(Structure(SMALL), 16).init_conv.bfloat16()
        convolution = count(stored, torch.zeros(2, 3, 32, 32, dtype=torch.bfloat16))
    limits = Limits("made up", "bf16", 1e12, 1e11, 1e-6, "made up")
    one = next(each for each in spots(Setting(2, 16, "bf16"), SMALL, limits) if each.name == "init_conv")
    assert one.bytes_moved == convolution.bytes_moved


def test_counts_of_another_torch_are_made_once_and_kept(monkeypatch, tmp_path):
    made = []

    def grid(structure):
        made.append(structure)
        return {"a": [[i, 2 * i, 1] for i in range(len(WIDTHS) * len(BATCHES))]}

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(unet_counts, "_versions", lambda: ["another", "one"])
    monkeypatch.setattr(unet_counts, "counted_grid", grid)
    for _ in range(2):
        unet_work.cache_clear()
        assert list(unet_work(Structure(SMALL)).counts) == ["a"]
    assert made == [Structure(SMALL)]
    (kept,) = tmp_path.glob("unet-counts-*.json")
    for broken in ("half a fi", "[]", '{"a": [[1, 2]]}', '{"a": 3}', "{}"):
        kept.write_text(broken)
        unet_work.cache_clear()
        unet_work(Structure(SMALL))
    assert len(made) == 6
    unet_work.cache_clear()


# times


def test_the_largest_of_three_times_binds():
    work = unet_work(Structure(SMALL)).at(32, 4)["ups.0.0"]
    for rates, bound, seconds in (
        ((1e6, 1e15, 1e-12), "compute", work.flop / 1e6),
        ((1e18, 1e3, 1e-12), "memory", work.bytes_moved / 1e3),
        ((1e18, 1e15, 1.0), "launch", float(work.kernels)),
    ):
        found = spots(Setting(4, 32), SMALL, Limits("made up", "fp32", *rates, "made up"))
        one = next(each for each in found if each.name == "ups.0.0")
        assert (one.bound, one.seconds) == (bound, pytest.approx(seconds))
        assert network(found).bound == bound
        assert network(found).seconds == pytest.approx(sum(each.seconds for each in found))
        assert one.flop_per_s <= min(rates[0], one.intensity * rates[1]) * (1 + 1e-12), "below the roofs"


# the explorer


def test_every_control_over_its_range_and_nothing_is_counted_meanwhile(explorer, monkeypatch):
    def refuse(*_):
        raise AssertionError("a slider counts")

    monkeypatch.setattr(unet_counts, "counted", refuse)
    for name, values in {
        "batch": explorer.batches,
        "width": explorer.widths,
        "reduction": explorer.reductions,
        "unfold": [True, False],
        "device": [*DATASHEETS, explorer.here],
    }.items():
        for value in values:
            setattr(explorer, name, value)
            assert_drawn(explorer)
    for device in ("V100 SXM2", "H100 SXM", explorer.here):
        explorer.device = device
        for dtype in explorer.dtypes:
            explorer.dtype = dtype
            assert_drawn(explorer)


def assert_drawn(explorer):
    scene = explorer.scene
    spots_now = [one for one in explorer.spots if one.flop]
    assert [(dot["name"], dot["x"], dot["bound"]) for dot in scene["spots"]] == [
        (one.name, one.intensity, one.bound) for one in spots_now
    ]
    assert scene["flop_per_s"] == explorer.limits.flop_per_s
    assert scene["figures"][0] == ("calculated", scene["whole"]["time"])
    assert len(scene["before"]) == len(spots_now)


def test_formats_follow_the_device(explorer):
    assert explorer.dtypes == ["fp32", "bf16", "fp16"]
    explorer.dtype = "bf16"
    explorer.device = "V100 SXM2"
    assert (explorer.dtypes, explorer.dtype) == (["fp32", "fp16"], "fp32")
    explorer.device = "H100 SXM"
    assert explorer.dtypes == ["fp32", "tf32", "bf16", "fp16"]
    assert "data sheet" in explorer.scene["source"]


@pytest.mark.parametrize(
    ("name", "value"), [("batch", 3), ("width", 31), ("reduction", 7), ("dtype", "fp8"), ("device", "Abacus")]
)
def test_what_is_not_offered_is_refused(explorer, name, value):
    with pytest.raises(ValueError, match=f"{name} is '?{value}'?, wanted one of"):
        setattr(explorer, name, value)


def test_a_doubled_batch_costs_twice_the_flop_and_the_start_is_kept(explorer):
    before = network(explorer.spots)
    explorer.batch = 2 * explorer.batch
    assert network(explorer.spots).flop == 2 * before.flop
    explorer.reduction, explorer.unfold, explorer.width = 2, True, 64
    explorer.act("start")
    assert explorer.setting == explorer.start
    assert dict(explorer.scene["figures"])["an image, against the start"] == "1.00x"
    assert explorer.scene["spots"] == explorer.scene["before"]


def test_back_to_the_start_is_back_to_this_device_and_its_format(explorer):
    explorer.dtype = "bf16"
    explorer.start = explorer.setting
    explorer.device = "V100 SXM2"  # has no bf16
    explorer.act("start")
    assert (explorer.device, explorer.setting) == (explorer.here, explorer.start)
    assert explorer.scene["can_measure"]


def test_measured_stands_beside_calculated(explorer):
    explorer.width, explorer.batch = 16, 1
    assert explorer.scene["measured"] is None
    explorer._handle_custom_msg({"action": "measure"}, [])
    told = explorer.scene
    assert told["measured"]["y"] == pytest.approx(
        told["whole"]["y"] * network(explorer.spots).seconds / explorer.measured[explorer.setting]
    )
    assert dict(told["figures"])["measured"] != "–"
    explorer.batch = 2
    assert explorer.scene["measured"] is None, "another setting was not measured"
    explorer.batch = 1
    assert explorer.scene["measured"] == told["measured"]
    assert len(explorer.figure().axes) == 1


def test_what_cannot_be_measured_says_why(explorer):
    explorer.device = "H200"
    explorer.act("measure")
    assert explorer.note == f"H200 is not here: choose {explorer.here} to measure."
    explorer.device = explorer.here
    explorer.ceilings.flop_per_s["fp32"] = 1e6
    explorer.act("measure")
    assert "choose a smaller batch or width" in explorer.note
    assert not explorer.measured
    with pytest.raises(ValueError, match="action is 'fly'"):
        explorer.act("fly")


def test_a_notebook_gets_the_widget_and_one_line(explorer):
    assert "width 16, fp32" in explorer._repr_mimebundle_()[0]["text/plain"]
    assert "\n" not in repr(explorer)
