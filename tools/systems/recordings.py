"""What the shipped models are trained on: every simulator and robot of the library, random scenes, pushes and play.

Seeds begin at 7000, where neither the demo's nor any evaluation's are (`tests/test_systems.py`). The Panda's recordings are handed
over: 166 episodes of four ManiSkill tasks and play.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One dataset.

    Attributes:
        family: simulator, which is left out as a whole to see what its absence costs.
        words: of `foreact collect`, or of `tools.systems.moving_scenes` for the family scenes.
        seed: of everything random.
    """

    family: str
    words: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.family}-{self.seed}"


_METAWORLD = "metaworld/{} --policy play --episodes 40 --max-steps 60 --image-size 96"
_TASKS = ("drawer-open", "drawer-close", "window-open", "faucet-close", "button-press", "button-press-topdown")
_ARMS = ("xarm6_robotiq", "ur_10e")

RECORDINGS = (
    Recording(family="pusht", words="pusht --episodes 800 --max-steps 55", seed=7001),
    Recording(family="pusht", words="pusht --episodes 200 --max-steps 55 --look unseen", seed=7002),
    Recording(family="scenes", words="--episodes 160", seed=7100),
    *(
        Recording(
            family="maniskill",
            words=f"maniskill --task Play --robot {arm} --episodes 20 --image-size 96",
            seed=7200 + k,
        )
        for k, arm in enumerate(_ARMS)
    ),
    *(Recording(family="metaworld", words=_METAWORLD.format(task), seed=7300 + k) for k, task in enumerate(_TASKS)),
)
FAMILIES = tuple(dict.fromkeys(recording.family for recording in RECORDINGS))
