"""Tables and units as a person reads them."""

import html.parser

import pytest

from course_utils.measure.tables import Table, Tabular, bytes_text, interval_text, ratio_text, seconds_text, si_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (3.21e-9, "3.21 ns"),
        (1.234e-5, "12.3 us"),
        (0.99999e-3, "1.00 ms"),
        (0.0412, "41.2 ms"),
        (1.5, "1.50 s"),
        (119.4, "119 s"),
        (725, "12 min 5 s"),
        (-0.002, "-2.00 ms"),
        (float("nan"), "–"),
    ],
)
def test_seconds_take_the_unit_that_suits_them(seconds, text):
    assert seconds_text(seconds) == text


def test_units():
    assert si_text(3.651e9, "FLOP") == "3.65 GFLOP"
    assert si_text(4.3e12, "B/s") == "4.30 TB/s"
    assert si_text(12) == "12.0"
    assert bytes_text(1.5 * 2**20) == "1.50 MiB"
    assert bytes_text(1000) == "1000 B"
    assert ratio_text(1.7249) == "1.72x"
    assert interval_text(1.72, 1.65, 1.8) == "1.72x (1.65–1.80)"


def test_numbers_are_aligned_right_and_words_left():
    table = Table(["name", "time"], [["a", "9.0 ms"], ["long", "10.0 ms"], ["none", None]], title="T", note="N")
    assert str(table).splitlines() == [
        "T",
        "name     time",
        "─────────────",
        "a      9.0 ms",
        "long  10.0 ms",
        "none        –",
        "N",
    ]
    assert repr(table) == str(table)


def test_head_keeps_the_first_rows():
    assert Table(["a"], [["1"], ["2"], ["3"]]).head(2).rows == [["1"], ["2"]]


def test_html_is_well_formed_escaped_and_without_a_colour_of_its_own():
    text = Table(["<b>"], [["a & b"]], title="x < y", note="<script>")._repr_html_()
    seen = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.append(tag)
    parser.feed(text)
    assert seen == ["table", "caption", "thead", "tr", "th", "tbody", "tr", "td", "div"]
    assert "a &amp; b" in text
    assert "color:inherit" in text
    assert "#" not in text  # a fixed colour would vanish in the light or in the dark theme


def test_a_row_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match="has 1 cells, wanted 2"):
        Table(["a", "b"], [["only"]])


def test_every_instrument_shows_its_table_at_a_prompt():
    """A dataclass writes its own repr unless told not to; the long ones print as tables, the short ones as one line."""
    from course_utils import measure

    own = {"Memory", "Ratio", "Timing"}
    tabular = [thing for name in measure.__all__ if isinstance(thing := getattr(measure, name), type)]
    shown = {thing.__name__: thing.__repr__ for thing in tabular if issubclass(thing, Tabular)}
    assert own < shown.keys()
    assert all((shown[name] is Tabular.__repr__) == (name not in own) for name in shown), shown
