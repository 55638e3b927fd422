"""What a request is worth to the data centre, and what its peak costs (section 5.8)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, CLASS_TIER, TIER_8B

CHATS = (CHAT_8B, CHAT_70B)


def cheaper(config: EnvConfig) -> float:
    """Price of that year over today's."""
    centre = config.datacentre
    return math.pow(1.0 - centre.price_decline_per_year, centre.years_ahead)


def average_usd(config: EnvConfig, c: int) -> float:
    """Price of a request of a class with its capital, at the default mix of tokens."""
    assert (config.demand.input_tokens, config.demand.output_tokens) == (1155.0, 211.0)
    centre = config.datacentre
    small = CLASS_TIER[c] == TIER_8B
    usd_per_mtok = centre.usd_per_mtok_8b if small else centre.usd_per_mtok_70b
    return usd_per_mtok * 211.0 / 1e6 * cheaper(config)


def credited_usd(config: EnvConfig, c: int) -> float:
    """Price of a request as it is credited, and charged when it is late or lost."""
    centre = config.datacentre
    usd = average_usd(config, c)
    if centre.dc_cost == "peak":
        usd *= 1.0 - centre.capital_share
    if centre.dc_cost == "energy_only":  # whatever batch work is sold for
        small = CLASS_TIER[c] == TIER_8B
        kwh_per_mtok = centre.kwh_per_mtok_8b if small else centre.kwh_per_mtok_70b
        return kwh_per_mtok * centre.electricity_usd_per_kwh * 211.0 / 1e6 * cheaper(config)
    return usd * (1.0 - centre.batch_discount) if c == BATCH_70B else usd


@dataclass
class Capital:
    """Interactive load left to the data centre so far [USD/h], with the fleet and without."""

    load: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    peak: float = 0.0
    peak_alone: float = 0.0

    def step(
        self, config: EnvConfig, arrived: list[float], taken: list[float], lost: list[float]
    ) -> float:
        """Take in a step of chat requests by class; return what the running peak saves.

        The result has to be multiplied by the charge of the peak [h].
        """
        open_share = 1.0 - config.demand.trusted_only_share  # of what arrives; the rest stays
        everything = [x / open_share for x in arrived]
        left = [e - t + x for e, t, x in zip(everything, taken, lost, strict=True)]
        prices = [average_usd(config, c) for c in CHATS]
        self.load.append(sum(x * usd for x, usd in zip(left, prices, strict=True)) / config.dt_h)
        alone = sum(x * usd for x, usd in zip(everything, prices, strict=True))
        self.alone.append(alone / config.dt_h)
        hour = round(1.0 / config.dt_h)
        before = self.peak_alone - self.peak
        self.peak = max(self.peak, _mean(self.load[-hour:]))
        self.peak_alone = max(self.peak_alone, _mean(self.alone[-hour:]))
        return self.peak_alone - self.peak - before


def charge_h(config: EnvConfig, peak_to_mean: float) -> float:
    """Hours of the average price's capital that a unit of peak load costs."""
    return config.datacentre.capital_share * 24.0 * config.days / peak_to_mean


def peak_to_mean(days: list[list[float]], dt_h: float) -> float:
    """Mean peak of some days, each hour's mean, over their mean load; `days` holds each step's."""
    hour = round(1.0 / dt_h)
    peaks = [max(_mean(day[max(0, k + 1 - hour) : k + 1]) for k in range(len(day))) for day in days]
    return _mean(peaks) / _mean([_mean(day) for day in days])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
