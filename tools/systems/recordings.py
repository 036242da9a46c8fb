"""What the shipped models are trained on: every simulator and robot of the library, random scenes, pushes and play.

No seed is that of a demo or of an evaluation (`tests/test_systems.py`). The Panda's recordings are handed over: 166 episodes of four
ManiSkill tasks and play.
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
        early: whether the first, longer stage of training sees it; the second sees all.
    """

    family: str
    words: str
    seed: int
    early: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        task = self.words.split()[0].partition("/")[2]
        return "-".join(filter(None, (self.family, task, str(self.seed))))

    @property
    def command(self) -> str:
        """That makes it, without --out."""
        program = "python -m tools.systems.moving_scenes" if self.family == "scenes" else "foreact collect"
        return f"{program} {self.words} --seed {self.seed}"


_SUCCESSES, _PLAY = ("--successes 120 --image-size 96", "--policy play --episodes {} --max-steps {} --image-size 96")
_PLAYED = ("drawer-open", "drawer-close", "window-open", "faucet-close", "button-press", "button-press-topdown")
_ARM = "maniskill --task Play --robot {} --episodes 20 --image-size 96"

RECORDINGS = (
    Recording(family="pusht", words="pusht --episodes 800 --max-steps 55", seed=7001, early=True),
    Recording(family="pusht", words="pusht --episodes 200 --max-steps 55 --look unseen", seed=7002, early=True),
    Recording(family="scenes", words="--episodes 160", seed=7100),
    Recording(family="maniskill", words=_ARM.format("xarm6_robotiq"), seed=7200),
    Recording(family="maniskill", words=_ARM.format("ur_10e"), seed=7201),
    Recording(family="metaworld", words=f"metaworld/drawer-open {_SUCCESSES}", seed=21, early=True),
    Recording(family="metaworld", words=f"metaworld/faucet-open {_SUCCESSES}", seed=21, early=True),
    Recording(family="metaworld", words=f"metaworld/button-press {_PLAY.format(120, 80)}", seed=22, early=True),
    *(
        Recording(family="metaworld", words=f"metaworld/{task} {_PLAY.format(40, 60)}", seed=7300 + k)
        for k, task in enumerate(_PLAYED)
    ),
)
SHOWN = Recording(family="pusht", words="pusht --episodes 8 --max-steps 55 --image-size 96", seed=7003)
"""Ships with the Push-T system, to drive and to plan from; nothing is trained on it."""
FAMILIES = tuple(dict.fromkeys(recording.family for recording in RECORDINGS))
