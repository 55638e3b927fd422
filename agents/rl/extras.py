"""Settings of what goes around a stock learner: a teacher to begin with, limits on costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from fleet_env.checks import in_range, one_of, require
from fleet_env.metrics import COSTS

# all act on what is observed, none on truth
TEACHERS = ("mpc", "price_index", "full_cost_first", "tuned_index")
MANY = 1_000_000  # above any sensible count


@dataclass
class ImitateSettings:
    """Clone a teacher by DAgger, then learn on near the clone; see `agents.rl.imitate`."""

    rounds: int = 0  # of DAgger; 0: no teacher, learn from scratch
    teacher: str = "mpc"  # mpc | price_index | full_cost_first | tuned_index
    days: int = 64  # train days of a round
    epochs: int = 40  # passes over all days so far, after each round; est
    batch_size: int = 512  # steps of one fleet in an update; est
    learning_rate: float = 1e-3  # of Adam, its customary first try
    std: float = 0.1  # of the actions when learning goes on: a share of 0.05 at most; est
    # held near the clone: price of one nat of KL [USD per car and step]. A suburban car earns about
    # 3 USD a month, 1e-3 a step, so that being 10 nats away costs a tenth of it; 0: free; est
    beta_usd: float = 1e-5

    def __post_init__(self) -> None:
        one_of(self, "agent.imitate.", teacher=TEACHERS)
        in_range(
            self,
            "agent.imitate.",
            rounds=(0, MANY),
            days=(1, MANY),
            epochs=(1, MANY),
            batch_size=(1, MANY),
            learning_rate=(1e-7, 1.0),
            std=(1e-3, 10.0),
            beta_usd=(0.0, 1.0),
        )


@dataclass
class ConstraintSettings:
    """Limits on mean costs, kept by multipliers; see `agents.rl.lagrangian`."""

    # name of `fleet_env.metrics.COSTS` -> limit [its unit, per car and episode]; empty: no limits
    limits: dict[str, float] = field(default_factory=dict)
    # Gains of the controller [USD per car and episode, for a cost of twice its limit]; a suburban
    # car earns about 0.1 USD a day; est
    kp: float = 0.05
    ki: float = 0.01
    kd: float = 0.05

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            require(name in COSTS, "agent.constraint.limits", name, f"costs of {', '.join(COSTS)}")
            number = isinstance(limit, int | float) and not isinstance(limit, bool)
            require(
                number and isfinite(limit) and limit > 0,
                f"agent.constraint.limits.{name}",
                limit,
                "a number above 0 (a violation is counted in parts of its limit)",
            )
        gain = (0.0, 1000.0)
        in_range(self, "agent.constraint.", kp=gain, ki=gain, kd=gain)
        if self.limits:
            require(
                self.ki > 0, "agent.constraint.ki", self.ki, "above 0, or limits are not reached"
            )
