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
