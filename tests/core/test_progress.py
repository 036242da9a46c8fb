"""How progress is told."""

import pytest

from foreact.core.progress import rate


@pytest.mark.parametrize(
    ("speed", "said"), [(0.1, "6.0 episodes/min"), (1.0, "1.0 episodes/s"), (2500.0, "2,500.0 episodes/s")]
)
def test_slow_work_is_counted_by_the_minute(speed, said):
    assert rate(speed, "episodes") == said
