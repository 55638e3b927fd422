"""A world of one's own for stock learners: what `VecEnv` asks for and no learner needs."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv


class ToyVecEnv(VecEnv):
    """Keeps the actions of the coming step; `reset` and `step_wait` are the toy's own."""

    actions: NDArray[Any]

    def step_async(self, actions: NDArray[Any]) -> None:
        self.actions = actions

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs
