"""Copies of a day side by side, each paid what it earns more than the others.

Most of what a fleet earns in a step is the luck of its day: weather, prices, who drives when. It is
the same for all copies of the day, and no critic can foresee it. Less the mean of the *other*
copies, whose actions were drawn apart from this one's, the expected policy gradient stays what it
was and most of its noise is gone: common random numbers, as in searches and comparisons
(leave-one-out baseline: Kool, van Hoof & Welling 2019; by groups, as in Shao et al. 2024, arXiv
2402.03300, but without their division by the deviation).
"""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class PairedVecEnv(VecEnvWrapper):
    """Rewards less the mean reward of the other copies of the same day in the same step.

    Parameters
    ----------
    venv : VecEnv
        Copies of a day stand one after the other (`FleetVecEnv` with as many `copies`).
    copies : int
        At least 2.
    rows_per_fleet : int
        Above 1 where cars are rows: a car is held against the same car of the other copies.

    Raises
    ------
    ValueError
        If the rows are not whole groups of copies.
    """

    def __init__(self, venv: VecEnv, copies: int, rows_per_fleet: int = 1) -> None:
        super().__init__(venv)
        if copies < 2 or venv.num_envs % (copies * rows_per_fleet):
            raise ValueError(
                f"copies={copies}: expected 2 or more, and whole groups of copies of "
                f"{rows_per_fleet} rows each in {venv.num_envs} rows"
            )
        self._shape = -1, copies, rows_per_fleet

    def reset(self) -> VecEnvObs:
        """Begin an episode in every row."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Play the step and take off what the other copies earned."""
        obs, rewards, dones, infos = self.venv.step_wait()
        groups = rewards.reshape(self._shape)
        copies = self._shape[1]
        above = (copies * groups - groups.sum(axis=1, keepdims=True)) / (copies - 1)
        return obs, above.reshape(rewards.shape).astype(rewards.dtype), dones, infos
