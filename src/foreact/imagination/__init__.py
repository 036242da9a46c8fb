"""Learning inside the imagination: a dream, or a simulator, as a vector environment; rewards; PPO in it."""

from foreact.imagination.imagined import ImaginedVectorEnv
from foreact.imagination.real import RealVectorEnv

__all__ = ["ImaginedVectorEnv", "RealVectorEnv"]
