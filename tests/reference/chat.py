"""Chat of one minute, offered to the nearest region first (sections 2.4 and 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_env.config import EnvConfig
from fleet_env.types import CHAT_8B, CHAT_70B, CLASS_TIER
from tests.reference.pools import Pool, p_late, rho_max

CHATS = (CHAT_8B, CHAT_70B)
Rest = dict[tuple[int, int], float]  # requests still to place, by region of the people and class


@dataclass(frozen=True)
class Taken:
    """Requests of a class that a pool took in one round."""

    pool: Pool
    c: int
    requests: float


def play_minute(
    config: EnvConfig, pools: list[Pool], rest: Rest, late: list[float], j: int
) -> bool:
    """Admit the chat of one minute, round after round; `rest` keeps what is nobody's.

    Adds to `late`, and tells whether a pool had to refuse some.
    """
    taken: list[Taken] = []
    crowded = False
    for turn in range(len(pools[0].turn) if pools else 0):
        for pool in pools:
            crowded |= _offer(config, pool, turn, rest, taken, j)
    for some in taken:  # waiting follows from all that a pool took in the minute
        cars = some.pool.cars[j]
        slots = config.serving.batch_slots * cars
        missing = p_late(slots, some.pool.load[j] / cars, some.pool.slack_slots)
        late[some.c] += some.requests * missing
    return crowded


def _offer(
    config: EnvConfig, pool: Pool, turn: int, rest: Rest, taken: list[Taken], j: int
) -> bool:
    """Offer a pool what is left to those who ask it in this round."""
    offers = {
        (people, c): requests
        for (people, c), requests in rest.items()
        if pool.turn[people] == turn and pool.serves(c) and pool.in_reach(people, CLASS_TIER[c])
    }
    work, cars = sum(n * pool.need_min[c] for (_, c), n in offers.items()), pool.cars[j]
    if work == 0.0 or cars == 0.0:
        return False
    slots = config.serving.batch_slots * cars
    most = rho_max(slots, pool.slack_slots, config.serving.slo_quantile)
    limit = max(0.0, most * cars - pool.load[j])
    share = min(1.0, limit / work)
    pool.load[j] += min(work, limit)
    for (people, c), requests in offers.items():
        pool.started[c][j] += share * requests
        rest[people, c] -= share * requests
        taken.append(Taken(pool, c, share * requests))
    return work > limit
