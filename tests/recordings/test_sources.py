"""What the command line says of recordings: datasets with weights and cameras, and choices of episodes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.recordings.sources import EpisodeChoice, Source, as_sources, parse_source


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a/b", Source(path=Path("a/b"))),
        ("a/b:0.5", Source(path=Path("a/b"), weight=0.5)),
        ("a/b@side", Source(path=Path("a/b"), camera="side")),
        ("a/b@observation.images.side:2", Source(path=Path("a/b"), weight=2.0, camera="observation.images.side")),
    ],
)
def test_words_for_sources(word, expected):
    assert parse_source(word) == expected


def test_a_folder_with_colons_and_at_signs_in_its_name_wins(tmp_path):
    folder = tmp_path / "run@3:0.5"
    folder.mkdir()
    assert parse_source(str(folder)) == Source(path=folder)
    assert parse_source(f"{folder}@top:2") == Source(path=folder, weight=2.0, camera="top")


@pytest.mark.parametrize("weight", ["0", "nan", "-1", "inf"])
def test_weights_that_are_no_weights(weight):
    with pytest.raises(ForeactError, match=r"weight of data is .* must be a positive number"):
        parse_source(f"data:{weight}")


def test_a_weight_that_is_no_number_and_no_source_at_all():
    with pytest.raises(ForeactError, match="'much' after the colon is no weight"):
        parse_source("data:much")
    with pytest.raises(ForeactError, match="at least one dataset"):
        as_sources(())


def test_sources_from_whatever_names_them():
    assert as_sources(Path("a")) == (Source(path=Path("a")),)
    several = as_sources((Path("a"), "b@side:3", Source(path=Path("c"))), camera="top")
    assert [(s.path.name, s.weight, s.camera) for s in several] == [("a", 1, "top"), ("b", 3, "side"), ("c", 1, "top")]


@given(
    count=st.integers(1, 30),
    bounds=st.lists(st.tuples(*[st.none() | st.integers(-40, 40)] * 2), min_size=1, max_size=3),
)
def test_ranges_are_pythons(count, bounds):
    text = ",".join(":".join("" if b is None else str(b) for b in pair) for pair in bounds)
    expected = set().union(*(range(count)[slice(*pair)] for pair in bounds))
    choose = lambda: EpisodeChoice.parse(text).of(range(count), where="data")  # noqa: E731
    if expected:
        assert choose() == expected
    else:
        with pytest.raises(ForeactError, match=f"chooses none of the {count} episodes of data"):
            choose()


def test_ranges_pass_over_gaps_and_single_numbers_do_not():
    there = (0, 1, 4, 7)
    assert EpisodeChoice.parse("0:5,-1").of(there, where="data") == {0, 1, 4, 7}
    with pytest.raises(ForeactError, match=r"data has no episode 3 \(its last is 7\)"):
        EpisodeChoice.parse("3").of(there, where="data")


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:2:0", "1-3", "1:2:3:4"])
def test_choices_that_are_none(text):
    with pytest.raises(ForeactError, match=r"--episodes .*: write numbers and ranges"):
        EpisodeChoice.parse(text)
