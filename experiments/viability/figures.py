"""The numbers of the study: funnel, ledger, break-even, energy, and the estimates beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.headroom import choose, is_learned, is_plain
from experiments.results import Results
from experiments.viability.scenes import NUM_CARS, OPT_IN, W_PER_GW, Scene, scenes_of
from fleet_env.metrics import REWARD_TERMS
from fleet_env.types import CLASSES
from fleet_env.units import DAYS_PER_MONTH, G_PER_KG, TOKENS_PER_MTOK

ESTIMATES = Path(__file__).with_name("estimates.csv")
FAR = 0.25  # a ratio further from 1 than that is explained
KEYS = {"rule": "rules", "learned": "learned"}  # who stands for a kind -> setting that names them
COSTS = tuple(term for term in REWARD_TERMS if term != "avoided")


@dataclass(frozen=True)
class Viability:
    """All that the report is written from."""

    scenes: dict[str, Scene]
    policies: dict[str, dict[str, str]]  # scene -> rule, learned: who stands for each
    days: str
    funnel: pd.DataFrame  # scene, hour, shares by stage
    power: pd.DataFrame  # scene, stage: mean, lowest and highest hour [GW of 100 million cars]
    money: pd.DataFrame  # scene, policy: USD per car-month, bound, score
    ledger: pd.DataFrame  # scene, policy: USD per million output tokens, line by line
    break_even: pd.DataFrame  # scene: owner pay and utilisation
    energy: pd.DataFrame  # scene, policy: kWh and gCO2 per million output tokens
    estimates: pd.DataFrame  # quantity: ours, the estimate, their ratio, and why


def figures(results: Results, funnel: pd.DataFrame) -> Viability:
    """Work out all numbers.

    Parameters
    ----------
    results : Results
        Of the rules and learned policies on every scene.
    funnel : pandas.DataFrame
        `Funnel.frame` of every scene, with its name in `scene`.
    """
    scenes = scenes_of(results.cards)
    policies = {name: stand_ins(results, name) for name in scenes}
    sums = _sums(results)
    of_rule = {name: sums.loc[(name, policies[name]["rule"])] for name in scenes}
    kw = funnel.groupby("scene")[["awake_kw", "busy_kw"]].first()
    even = [break_even(one, of_rule[name], tuple(kw.loc[name])) for name, one in scenes.items()]
    shown = [(name, who) for name in scenes for who in dict.fromkeys(policies[name].values())]
    ledger = pd.DataFrame([ledger_line(name, who, sums.loc[(name, who)]) for name, who in shown])
    energy = pd.DataFrame([energy_line(name, who, sums.loc[(name, who)]) for name, who in shown])
    found = Viability(
        scenes=scenes,
        policies=policies,
        days=results.days,
        funnel=funnel,
        power=power(scenes, funnel),
        money=_money(results, shown),
        ledger=ledger,
        break_even=pd.DataFrame(even),
        energy=energy,
        estimates=pd.DataFrame(),
    )
    weights = {name: share_70b(of_rule[name]) for name in scenes}
    return replace(found, estimates=against_estimates(found, weights))


def stand_ins(results: Results, scene: str) -> dict[str, str]:
    """Name the best plain rule that uses cars (`rule`) and the best learned policy (`learned`).

    Each is chosen on other days than those it is reported on, where other days were played.

    Raises
    ------
    ValueError
        If there is none.
    """
    records = results.records if results.choice is None else results.choice
    part = records[records["card"] == scene]
    used_h = part.groupby("policy")["metric/on_duty_h"].transform("sum")
    found = {
        "rule": choose(part[used_h > 0], is_plain),
        "learned": choose(part, is_learned),
    }
    for kind, who in found.items():
        if who is None:
            raise ValueError(f"{KEYS[kind]}: none of them uses a car of {scene}; name one more")
    return {kind: str(who) for kind, who in found.items()}


def _sums(results: Results) -> pd.DataFrame:
    """Sum all days by scene and policy; `car_months` beside the fields of the records."""
    records = results.scored_records
    months = records["num_cars"] * records["days"] / DAYS_PER_MONTH
    demand = {name: card.demand.output_tokens for name, card in results.cards.items()}
    done = sum(records[f"metric/on_time_{name}"] for name in CLASSES)
    mtok = done * records["card"].map(demand) / TOKENS_PER_MTOK
    frame = records.assign(car_months=months, mtok=mtok)
    return frame.groupby(["card", "policy"]).sum(numeric_only=True)


def share_70b(sums: pd.Series) -> float:
    """Share of the output tokens done in cars that came from the 70B model."""
    done = np.array([sums[f"metric/on_time_{name}"] for name in CLASSES])
    large = np.array([name.endswith("70b") for name in CLASSES])
    return float(done[large].sum() / done.sum()) if done.sum() else 0.0


def power(scenes: Mapping[str, Scene], funnel: pd.DataFrame) -> pd.DataFrame:
    """Power of the computers of 100 million cars by stage, with the owners who take part [GW]."""
    rows = []
    for name, scene in scenes.items():
        part = funnel[funnel["scene"] == name].set_index("hour")
        hours = stages(part) * scene.nameplate_gw
        for stage in hours:
            mean, low, high = hours[stage].mean(), hours[stage].min(), hours[stage].max()
            rows.append({"scene": name, "stage": stage, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def stages(funnel: pd.DataFrame) -> pd.DataFrame:
    """Shares of all cars: nameplate, parked, plugged, linked, opted in, used."""
    names = ["nameplate", "parked", "plugged", "linked"]
    out = funnel[names].copy()
    out["opted_in"] = OPT_IN * funnel["linked"]
    out["used"] = OPT_IN * funnel["busy"]
    return out


def ledger_line(scene: str, policy: str, sums: pd.Series) -> dict[str, Any]:
    """Cost of a million output tokens in cars and of the same work in the data centre [USD]."""
    row: dict[str, Any] = {"scene": scene, "policy": policy}
    row["mtok_per_car_month"] = sums["mtok"] / sums["car_months"]
    row |= {term: -_over(sums[f"reward/{term}"], sums["mtok"]) for term in COSTS}
    row["cars"] = sum(row[term] for term in COSTS)
    row["data_centre"] = _over(sums["reward/avoided"], sums["mtok"])
    return row | {"cars / data centre": _over(row["cars"], row["data_centre"])}


def break_even(scene: Scene, sums: pd.Series, kw: tuple[float, float]) -> dict[str, Any]:
    """Owner pay and utilisation at which cars cost what the data centre does.

    With utilisation u = busy hours / hours on duty, an hour on duty is worth v u and costs
    e (a + (b - a) u) + o: v the data-centre cost that a busy hour avoids, e the electricity cost
    per kWh of this model, a and b the power awake and at full work, o all other costs.
    """
    duty_h, busy_h = sums["metric/on_duty_h"], sums["metric/busy_h"]
    net, months = sums["return"], sums["car_months"]
    paid = scene.config.reward.pay_usd_per_on_duty_h * duty_h
    awake_kw, busy_kw = kw
    model_kwh = awake_kw * duty_h + (busy_kw - awake_kw) * busy_h
    usd_per_kwh = -_over(sums["reward/energy"], model_kwh)
    other = -_over(net - sums["reward/avoided"] - sums["reward/energy"], duty_h)
    worth = _over(sums["reward/avoided"], busy_h) - usd_per_kwh * (busy_kw - awake_kw)
    return {
        "scene": scene.name,
        "on_duty_h_per_month": duty_h / months,
        "utilisation": _over(busy_h, duty_h),
        "break_even_utilisation": _over(usd_per_kwh * awake_kw + other, worth),
        "pay_usd_per_month": paid / months,
        "break_even_usd_per_month": (net + paid) / months,
        "break_even_usd_per_on_duty_h": _over(net + paid, duty_h),
    }


def energy_line(scene: str, policy: str, sums: pd.Series) -> dict[str, Any]:
    """Energy and carbon of a million output tokens, in cars and in the data centre."""
    return {
        "scene": scene,
        "policy": policy,
        "kwh": _over(sums["metric/wall_kwh"], sums["mtok"]),
        "datacentre_kwh": _over(sums["dc_kwh"], sums["mtok"]),
        "co2_g": G_PER_KG * _over(sums["metric/carbon_kg"], sums["mtok"]),
        "datacentre_co2_g": G_PER_KG * _over(sums["dc_carbon_kg"], sums["mtok"]),
    }


def _money(results: Results, shown: list[tuple[str, str]]) -> pd.DataFrame:
    rows = []
    for scene, who in shown:
        [row] = [row for row in results.rows[scene] if row["policy"] == who]
        keys = ("usd", "usd_low", "usd_high", "score")
        rows.append({"scene": scene, "policy": who} | {key: row[key] for key in keys})
        if results.scale is not None:
            rows[-1]["bound"] = results.scale.bound[scene]["usd"]
    return pd.DataFrame(rows)


def load_estimates() -> pd.DataFrame:
    """Read the independent estimates that the package carries."""
    return pd.read_csv(ESTIMATES, comment="#", keep_default_na=True)


def against_estimates(found: Viability, weights: Mapping[str, float]) -> pd.DataFrame:
    """Put ours beside the estimates; those per tier are mixed as the cars' work is.

    Parameters
    ----------
    found : Viability
    weights : mapping
        Scene -> share of the 70B model in the tokens done in cars.
    """
    table, rows = load_estimates(), []
    for habits in ("today", "paid"):
        scene = f"ai5_{habits}"
        means = found.funnel[found.funnel["scene"] == scene].mean(numeric_only=True)
        for stage in ("parked", "plugged", "linked"):
            part = table[(table["quantity"] == stage)]
            part = part[part["habits"].isna() | (part["habits"] == habits)]
            rows.append(_beside(scene, part.iloc[0], means[stage], part["value"].iloc[0]))
        rows += list(_per_mtok(found, scene, table, weights[scene]))
        even = found.break_even.set_index("scene").loc[scene]
        part = table[table["quantity"] == "break_even_usd_per_on_duty_h"]
        want = float(np.interp(even["utilisation"], part["utilisation"], part["value"]))
        rows.append(_beside(scene, part.iloc[0], even["break_even_usd_per_on_duty_h"], want))
    return pd.DataFrame(rows)


def _per_mtok(found: Viability, scene: str, table: pd.DataFrame, weight: float) -> Any:
    rule = found.policies[scene]["rule"]
    ledger, energy = (
        frame[(frame["scene"] == scene) & (frame["policy"] == rule)].iloc[0]
        for frame in (found.ledger, found.energy)
    )
    ours = {
        "electricity_usd_per_mtok": ledger["energy"],
        "datacentre_usd_per_mtok": ledger["data_centre"],
        "kwh_per_mtok": energy["kwh"],
        "datacentre_kwh_per_mtok": energy["datacentre_kwh"],
    }
    for quantity, value in ours.items():
        part = table[table["quantity"] == quantity].set_index("tier")
        want = weight * part.loc["70b", "value"] + (1 - weight) * part.loc["8b", "value"]
        yield _beside(scene, part.reset_index().iloc[0], value, want)


def _beside(scene: str, row: pd.Series, ours: float, estimate: float) -> dict[str, Any]:
    ratio = _over(ours, estimate)
    far = not abs(ratio - 1) <= FAR
    return {
        "scene": scene,
        "quantity": row["quantity"],
        "ours": ours,
        "estimate": estimate,
        "ratio": ratio,
        "section": row["section"],
        "why": row["why"] if far else "",
    }


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def gw_at_night(found: Viability, scene: str) -> float:
    """Mean power of the cars linked and opted in from 22 to 6 h [GW]."""
    part = found.funnel[found.funnel["scene"] == scene].set_index("hour")
    night = part.loc[[22, 23, 0, 1, 2, 3, 4, 5], "linked"].mean()
    return float(night * OPT_IN * found.scenes[scene].chip_w * NUM_CARS / W_PER_GW)
