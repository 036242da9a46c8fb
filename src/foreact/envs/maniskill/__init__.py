"""The papers' own world: tabletop tasks of ManiSkill 3, recorded with scripted and motion-planned arms.

`robots` and `tasks` say what there is, `scripts` and `play` how a hand moves, `episode` records one episode through the small
interface in `contract`, and `simulation` and `worlds`, which alone import ManiSkill, stand behind it.
"""
