"""Policies of foreact in LeRobot, which imports every package whose name begins with `lerobot_policy_`."""

from importlib.metadata import version

TRIED = "0.4.4"
"""LeRobot's version with which this was tried."""

try:
    from lerobot_policy_foreact.configuration_foreact import ForeactConfig
except ImportError as error:
    raise ImportError(
        f"lerobot_policy_foreact was made for LeRobot {TRIED}, this is {version('lerobot')}, whose policies are written in "
        f"another way ({error})"
    ) from error

__all__ = ["ForeactConfig"]
