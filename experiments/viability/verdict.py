"""The verdict in plain words, with its conditions, from the numbers alone."""

from __future__ import annotations

import pandas as pd

from experiments.viability.figures import Viability
from experiments.viability.scenes import OPT_IN


def verdict(found: Viability) -> list[str]:
    """Say what came out, one sentence or two per point."""
    return [_power(found), *_money(found), _tokens(found), _energy(found), _learned(found)]


def _mean_gw(found: Viability, scene: str, stage: str) -> float:
    power = found.power
    return float(power[(power["scene"] == scene) & (power["stage"] == stage)]["mean"].iloc[0])


def _power(found: Viability) -> str:
    claim, real = (
        [_mean_gw(found, f"{hardware}_{habits}", "opted_in") for habits in ("today", "paid")]
        for hardware in ("claim", "ai5")
    )
    return (
        f"Of 100 GW, 1 kW in each of 100 million cars, {claim[0]:.2g} GW are left in the mean hour "
        f"with today's habits and {claim[1]:.2g} GW if owners are paid to plug in, at an opt-in of "
        f"{OPT_IN:.0%}; with the announced computer of 0.2 kW {real[0]:.2g} and {real[1]:.2g} GW."
    )


def _money(found: Viability) -> list[str]:
    lines = []
    for scene in found.scenes:
        part = found.money[found.money["scene"] == scene]
        rule = part[part["policy"] == found.policies[scene]["rule"]].iloc[0]
        bound = f", of at most {rule['bound']:.2f}" if "bound" in part else ""
        pays = _pays(rule)
        lines.append(
            f"{scene}: {pays}. {rule['policy']}, the best plain rule that uses cars, earns "
            f"{rule['usd']:+.2f} [{rule['usd_low']:+.2f}, {rule['usd_high']:+.2f}] USD per "
            f"car-month against the data centre{bound}."
        )
    return lines


def _pays(rule: pd.Series) -> str:
    if rule["usd_low"] > 0:
        return "it pays"
    return "it does not pay" if rule["usd_high"] < 0 else "it cannot be told whether it pays"


def _tokens(found: Viability) -> str:
    ledger = _of_rules(found, found.ledger)
    dear = ledger[ledger["cars / data centre"] > 1]["scene"].tolist()
    low, high = ledger["cars / data centre"].min(), ledger["cars / data centre"].max()
    worse = f" (dearer: {', '.join(dear)})" if dear else ""
    even = found.break_even.set_index("scene")
    paid, use = even["break_even_usd_per_month"], even["break_even_utilisation"]
    never = [scene for scene in even.index if not 0 <= use[scene] <= 1]
    least = use.drop(never)
    lost = f", and on {', '.join(never)} at no utilisation at all" if never else ""
    return (
        f"A million tokens cost {low:.2f} to {high:.2f} times what the data centre takes for the "
        f"same work{worse}, by the best plain rules. What is left to share with owners, before any "
        f"pay, is {paid.min():.2f} to {paid.max():.2f} USD per car-month. It pays from a "
        f"utilisation of {least.min():.0%} to {least.max():.0%} of the hours on duty{lost}."
    )


def _energy(found: Viability) -> str:
    energy = _of_rules(found, found.energy)
    power = energy["kwh"] / energy["datacentre_kwh"]
    carbon = energy["co2_g"] / energy["datacentre_co2_g"]
    return (
        f"A token takes {power.min():.1f} to {power.max():.1f} times the electricity of the data "
        f"centre, and {carbon.min():.1f} to {carbon.max():.1f} times its carbon on the same grid."
    )


def _learned(found: Viability) -> str:
    gaps = {}
    for scene, who in found.policies.items():
        part = found.money[found.money["scene"] == scene].set_index("policy")["usd"]
        gaps[scene] = part[who["learned"]] - part[who["rule"]]
    ahead = [scene for scene, gap in gaps.items() if gap > 0]
    names = ", ".join(dict.fromkeys(who["learned"] for who in found.policies.values()))
    where = f" ({', '.join(ahead)})" if ahead else ""
    return (
        f"The best learned policy of each fleet ({names}) is ahead of the best plain rule on "
        f"{len(ahead)} of {len(gaps)} fleets{where}, by {min(gaps.values()):+.2f} to "
        f"{max(gaps.values()):+.2f} USD per car-month."
    )


def _of_rules(found: Viability, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the plain rules that did any work."""
    rules = {(scene, who["rule"]) for scene, who in found.policies.items()}
    keep = [(s, p) in rules for s, p in frame[["scene", "policy"]].to_numpy()]
    return frame[keep].dropna()
