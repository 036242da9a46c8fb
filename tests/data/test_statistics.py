"""Statistics of pictures, counted by level, are those of the pixels themselves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foreact.data.statistics import count_levels, describe_levels, describe_rows


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_statistics_of_pictures_are_those_of_their_pixels(frames_THWC: np.ndarray) -> None:
    chosen = frames_THWC[np.linspace(0, len(frames_THWC) - 1, min(16, len(frames_THWC))).round().astype(int)]
    expected = describe_rows(chosen.reshape(-1, 3) / 255)
    height, width = frames_THWC.shape[1:3]
    described = describe_levels(count_levels(frames_THWC), height * width)
    assert described.keys() == expected.keys()
    assert described.pop("count") == [len(chosen)]
    for name, values in described.items():
        assert values.shape == (3, 1, 1)
        np.testing.assert_allclose(values.ravel(), expected[name], atol=1e-7, err_msg=name)


def test_quantiles_of_several_episodes_are_those_of_all_their_pixels() -> None:
    """A dark and a bright episode: the mean of their medians is a grey that no pixel has."""
    rng = np.random.default_rng(0)
    dark, bright = (rng.integers(low, low + 30, (12, 6, 8, 3)).astype(np.uint8) for low in (0, 220))
    pooled = describe_levels(count_levels(dark) + 3 * count_levels(bright), 48)
    expected = describe_rows(np.concatenate([dark, bright, bright, bright]).reshape(-1, 3) / 255)
    for name, values in pooled.items():
        if name != "count":
            np.testing.assert_allclose(values.ravel(), expected[name], atol=1e-7, err_msg=name)
    assert pooled["count"] == [48]
