"""Laws of every step on random fleets under random play: requests, work, cars, packs.

Numbers are those of the project's list of invariants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_env.dynamics.energy import full_load_heat_w, load_evse
from fleet_env.dynamics.losses import copies
from fleet_env.dynamics.roofline import accelerator
from fleet_env.generators.shocks import KINDS
from fleet_env.types import (
    BATCH_70B,
    DRIVING,
    EVSE_NONE,
    FAULT_SILENT,
    HOME,
    LINK_NONE,
    LINK_WIFI,
    WORK,
)
from tests.contract.records import PLAIN_CASES, Day, Step, law_tests, record
from tests.contract.worlds import ON_PRICE, SHOCKS

KWH = 2e-5  # rounding of a step in float32 (model.md 2.7)
CLASS = ("chat_8b", "chat_70b", "batch_70b")


def invariant_1(day: Day) -> None:
    """Requests: what came and was there is done, lost, sent away or still there; by class."""
    for step in day.steps:
        flows = step.flows
        there = _requests(step.before) + flows.arrived
        gone = flows.on_time + flows.late + flows.lost + flows.diverted + flows.expired
        np.testing.assert_allclose(there, gone + _requests(step.after), rtol=1e-9, atol=1e-9)
        parts = ("on_time", "late", "lost", "diverted", "expired", "dispatched", "arrived")
        assert all(getattr(flows, part).min() >= 0 for part in parts)
        assert step.after["batch_due"].min() >= 0
        assert step.after["running"].min() >= 0
    kinds = ("on_time", "late", "lost", "diverted", "expired")
    total = {k: sum(step.info[f"metric/{k}"] for step in day.steps) for k in _request_metrics()}
    for name in CLASS:  # nothing is open at the horizon
        gone = sum(total[f"{kind}_{name}"] for kind in kinds)
        np.testing.assert_allclose(gone, total[f"arrived_{name}"], rtol=1e-9, atol=1e-9)


def _request_metrics() -> list[str]:
    kinds = ("arrived", "on_time", "late", "lost", "diverted", "expired")
    return [f"{kind}_{name}" for kind in kinds for name in CLASS]


def _requests(state: dict[str, NDArray[Any]]) -> NDArray[Any]:
    held = state["running"].copy()
    held[:, BATCH_70B] += state["batch_due"].sum(axis=1)
    return held


def throughput(day: Day) -> NDArray[Any]:
    """Factor on what the cars of each row serve."""
    return np.array([card.serving.throughput_factor for card in day.cards])


def invariant_2(day: Day) -> None:
    """Work: what is served never exceeds cars times time; nothing comes out that did not go in."""
    setup, factor = day.env.sim.setup, throughput(day)
    fastest = setup.rate.max(axis=0)
    for step in day.steps:
        info, flows = step.info, step.flows
        serving_h = info["metric/serving_h"] * factor
        assert (info["metric/busy_h"] <= serving_h * (1 + 1e-6) + 1e-12).all()
        assert (info["metric/serving_h"] <= info["metric/on_duty_h"] + 1e-6).all()
        with np.errstate(divide="ignore", invalid="ignore"):
            at_least_s = np.where(flows.dispatched > 0, flows.dispatched / fastest, 0.0).sum(axis=1)
        assert (at_least_s <= serving_h * 3600 * (1 + 1e-6) + 1e-9).all()
        if setup.num_groups == 1:
            rate = np.where(setup.rate[0] > 0, setup.rate[0], np.inf) / copies(day.config.serving)
            busy_h = (flows.dispatched / rate).sum(axis=1) / 3600
            np.testing.assert_allclose(info["metric/busy_h"], busy_h, rtol=1e-9, atol=1e-12)
        done = flows.on_time + flows.late + flows.lost
        held = step.before["running"] + flows.dispatched
        assert (done <= held * (1 + 1e-9) + 1e-9).all()
        assert flows.util.min() >= 0
        assert flows.util.max() <= 1 + 1e-12


def inlet_c(day: Day, step: int, place: NDArray[Any]) -> NDArray[Any]:
    """Air at the inlet of every car [degC], from the formula of model.md 2.6."""
    config, params = day.config, day.env.sim.world.params
    chip_w = np.array([accelerator(name).busy_w for name in config.fleet.accelerators])
    heat_w = full_load_heat_w(
        chip_w[params.accelerator] * day.of_cars(lambda card: card.serving.chip_w_factor),
        overhead_w=day.of_cars(lambda card: card.serving.overhead_w),
        eta_dcdc=config.serving.eta_dcdc,
    )
    ambient_c = day.env.sim.exo.ambient_c[day.area, step]
    garage = params.closed_garage & (place == HOME)
    return ambient_c + garage * heat_w / config.thermal.garage_w_per_k


def neighbourhood(day: Day) -> NDArray[Any]:
    """Neighbourhood of every car, numbered through the batch."""
    row, number = np.divmod(np.arange(day.env.num_envs * day.config.num_cars), day.config.num_cars)
    homes = day.config.feeder.homes
    return row * -(-day.config.num_cars // homes) + number // homes


def link_of(day: Day, now: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Link at the place of every car."""
    params = day.env.sim.world.params
    return np.where(now["place"] == HOME, params.home_link, params.work_link)


def link_down(day: Day, step: Step) -> NDArray[np.bool_]:
    """Whether the link of every car is down at the start of a step."""
    near, now, out = neighbourhood(day), step.before, step.outages
    down = np.zeros(near.shape, np.bool_)
    if out.home_down is not None:
        down |= out.home_down[near] & (now["place"] == HOME) & (link_of(day, now) == LINK_WIFI)
    if out.down is not None:
        down |= out.down[near]
    return down


def hours_forbid(day: Day, k: int) -> NDArray[np.bool_]:
    """Whether the owner of every car allows nothing at the start of step k."""
    owners, hour = day.config.owners, day.env.sim.exo.local_hour[day.area, k]
    closed = ~_within(hour, owners.allowed_from_h, owners.allowed_to_h)
    closed &= owners.allowed_from_h % 24 != owners.allowed_to_h % 24
    quiet = _within(hour, owners.quiet_from_h, owners.quiet_to_h)
    return closed | (quiet & day.env.sim.world.params.quiet)


def _within(hour: NDArray[Any], from_h: float, to_h: float) -> NDArray[np.bool_]:
    return (hour - from_h) % 24 < (to_h - from_h) % 24


def cap_h(day: Day) -> float:
    """Hours on duty that an owner allows in the episode."""
    return day.config.owners.cap_h_per_month * day.config.days / 30.4375 or np.inf


def invariant_4(day: Day) -> None:
    """No work in a car that drives, lacks link, plug, charge, model or leave, or is too hot."""
    params, setup, config = day.env.sim.world.params, day.env.sim.setup, day.config
    fits = setup.tier_fits.any(axis=1)[params.accelerator]
    near = neighbourhood(day)
    for k, step in enumerate(day.steps):
        cars, now, flows = step.duty.cars, step.before, step.duty.flows
        on = cars[flows.on]
        assert step.action.ravel()[on].all()
        assert now["mask"][on].all()
        assert np.isin(now["place"][on], (HOME, WORK)).all()
        assert (link_of(day, now)[on] != LINK_NONE).all()
        assert not link_down(day, step)[on].any()
        assert (powered(now)[on] | params.unplugged_ok[on]).all()
        assert (now["soc"][on] > params.reserve_soc[on]).all()
        assert (now["snooze_h"][on] > now["t_h"]).all()
        assert fits[on].all()
        assert (inlet_c(day, k, now["place"])[on] < config.thermal.off_from_c + 1e-4).all()
        assert params.enrolled[on].all()
        assert not now["left"][on].any()
        assert not hours_forbid(day, k)[on].any()
        assert (now["duty_h"][on] < cap_h(day)).all()
        assert (now["fault"][on] != FAULT_SILENT).all()
        end_h = np.minimum(now["event_h"], now["snooze_h"])
        if step.outages.fails_h is not None:
            end_h = np.minimum(end_h, step.outages.fails_h[near])
        if step.outages.home_fails_h is not None:
            wifi = (now["place"] == HOME) & (link_of(day, now) == LINK_WIFI)
            end_h = np.where(wifi, np.minimum(end_h, step.outages.home_fails_h[near]), end_h)
        left_min = np.clip((end_h[cars] - now["t_h"]) * 60, 0, config.step_min)
        assert (flows.on_min <= left_min * flows.on + 1e-3).all()
        serving = cars[flows.serve_min > 0]
        assert np.isin(serving, on).all()
        assert (step.after["weights_gb"][serving] <= 0).all()
        not_awake = np.setdiff1d(np.arange(len(now["mask"])), cars)
        assert not now["duty"][not_awake].any()


def powered(state: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Whether every car is plugged in where there is power."""
    lit: NDArray[np.bool_] = state["plugged"] & ~state["dark"]
    return lit


def evse_of(day: Day, state: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """EVSE row in use per car."""
    params = day.env.sim.world.params
    evse = np.where(state["place"] == HOME, params.home_evse, params.work_evse)
    return np.where(powered(state), evse, EVSE_NONE)


def twin_at(day: Day, state: dict[str, NDArray[Any]], t_h: Any) -> NDArray[Any]:
    """Soc of every twin at a time before its next event, in float64 (model.md 1)."""
    params = day.env.sim.world.params
    dc_kw, lit = load_evse(np.float64).dc_kw[evse_of(day, state)], powered(state)
    standby_kw = day.config.fleet.standby_w / 1000 * (state["place"] != DRIVING)
    rate = np.where(lit, dc_kw, -standby_kw) / params.pack_kwh.astype(np.float64)
    ref = state["twin_ref"].astype(np.float64)
    soc = ref + rate * (t_h - state["ref_h"].astype(np.float64))
    limit = np.maximum(params.charge_limit, ref)
    return np.maximum(np.where(lit, np.minimum(soc, limit), soc), 0.0)


def invariant_5(day: Day) -> None:
    """Pack: charge changes by what went in less what compute took, and stays within 0 and 1."""
    params, dt_h = day.env.sim.world.params, day.config.dt_h
    pack = params.pack_kwh.astype(np.float64)
    for step in day.steps:
        before, after = step.before, step.after
        assert np.isfinite(after["soc"]).all()
        assert after["soc"].min() >= 0
        assert after["soc"].max() <= 1 + 1e-6
        twin = twin_at(day, after, float(after["t_h"]))
        np.testing.assert_allclose(after["soc"], twin - after["gap"], atol=2e-6)
        still = before["event_h"] >= np.float32(before["t_h"] + dt_h)
        idle = still.copy()
        idle[step.duty.cars] = False
        np.testing.assert_array_equal(after["gap"][idle], before["gap"][idle])
        if step.meter is None:
            continue
        cars = step.duty.cars
        stay = still[cars]
        into_kwh = step.meter.battery_kwh.astype(np.float64)
        standby_kwh = np.where(powered(before)[cars], 0.0, day.config.fleet.standby_w / 1000 * dt_h)
        standby_kwh = np.minimum(
            standby_kwh, twin_at(day, before, float(before["t_h"]))[cars] * pack[cars]
        )
        change_kwh = (after["soc"][cars] - before["soc"][cars]).astype(np.float64) * pack[cars]
        np.testing.assert_allclose(
            change_kwh[stay], (into_kwh - standby_kwh)[stay], atol=4e-5 + 76 * 2**-22
        )
        # into the pack went what was bought, less the charger's loss and the compute energy
        bought_kwh = step.meter.meter_kwh.astype(np.float64) * step.plug.eta
        most_kwh = bought_kwh - step.plug.compute_kwh
        loss_kwh = np.maximum(step.plug.wall_kwh * step.plug.eta - step.plug.compute_kwh, 0)
        slack_kwh = np.where(step.mode == 0, loss_kwh, 0) + KWH
        assert (into_kwh <= most_kwh + KWH + 1e-6 * np.abs(most_kwh)).all()
        assert (into_kwh >= most_kwh - slack_kwh - 1e-6 * np.abs(most_kwh)).all()


def invariant_6(day: Day) -> None:
    """An unplugged car draws nothing from the meter, and no car feeds the grid."""
    for step in day.steps:
        if step.meter is None:
            continue
        cars = step.duty.cars
        unplugged = ~powered(step.before)[cars]
        assert (step.meter.meter_kwh[unplugged] == 0).all()
        assert (step.meter.twin_meter_kwh[unplugged] == 0).all()
        assert (step.meter.meter_kwh >= 0).all()
        assert (step.meter.twin_meter_kwh >= 0).all()
        outlet_kwh = step.plug.ac_kw * step.plug.plug_h
        most_kwh = np.maximum(outlet_kwh, step.meter.twin_meter_kwh)
        assert (step.meter.meter_kwh <= most_kwh * (1 + 1e-5) + KWH).all()


def invariant_8(day: Day) -> None:
    """No shortfall goes unreported: count and kWh by row, from twins and gaps at departures."""
    params, reward = day.env.sim.world.params, day.config.reward
    for step in day.steps:
        before, after = step.before, step.after
        driving = before["place"] == DRIVING
        arrivals = after["event_no"].astype(np.int64) - before["event_no"]
        leaving = arrivals + (after["place"] == DRIVING) - driving
        assert leaving.min() >= 0
        gap = before["gap"].astype(np.float64)
        if step.meter is not None:
            gap[step.duty.cars] = step.meter.gap
        twin = twin_at(day, before, before["event_h"])
        short = np.minimum(params.target_soc, twin) - (twin - gap) - reward.shortfall_deadband_soc
        left = (leaving == 1) & ~driving
        short_kwh = np.where(left, np.maximum(short, 0), 0) * params.pack_kwh
        clear = ~(day.rows((leaving > 1) | (left & (np.abs(short) < 1e-5))) > 0)
        clear &= ~(day.rows((leaving == 1) & driving) > 0)  # came and left again in the step
        count = day.rows(left & (short > 0))
        info = step.info
        np.testing.assert_array_equal(info["metric/shortfalls"][clear], count[clear])
        got_kwh = info["metric/shortfall_kwh"][clear]
        np.testing.assert_allclose(got_kwh, day.rows(short_kwh)[clear], atol=1e-3)
        overdue = before["event_h"] >= before["stated_h"]
        broken = day.rows(left & (short > 0) & overdue)
        np.testing.assert_array_equal(info["metric/broken_promises"][clear], broken[clear])


def invariant_9(day: Day) -> None:
    """No serving car idles in a step in which more batch work waits than all could start."""
    setup, factor = day.env.sim.setup, throughput(day)
    hosts = np.flatnonzero(setup.rate[:, BATCH_70B] > 0)
    for step in day.steps:
        room = step.info["metric/serving_h"] * factor * 3600 * setup.rate[:, BATCH_70B].max()
        flooded = step.before["batch_due"].sum(axis=1) >= room * (1 + 1e-6)
        flooded &= step.info["metric/serving_h"] > 1e-6
        serving = np.zeros(step.flows.util.shape, bool)
        serving[:, :, hosts] = step.duty.profile.sum(axis=3)[:, :, hosts] > 0
        util = step.flows.util[flooded][serving[flooded]]
        np.testing.assert_allclose(util, 1.0, rtol=1e-9)


INVARIANTS: dict[str, Callable[[Day], None]] = {
    "1 requests": invariant_1,
    "2 work": invariant_2,
    "4 cars": invariant_4,
    "5 packs": invariant_5,
    "6 meters": invariant_6,
    "8 owners": invariant_8,
    "9 work conserving": invariant_9,
}

test_invariant, test_invariant_on_many_cards = law_tests(INVARIANTS)


def test_cases_reach_what_the_invariants_are_about() -> None:
    """The laws above are empty where nothing happens: over all cases everything has to happen."""
    seen: dict[str, float] = {}

    def saw(key: str, amount: Any) -> None:
        seen[key] = seen.get(key, 0.0) + float(np.abs(amount).sum())

    for case in range(PLAIN_CASES):
        day = record(case)
        setting, exo = day.config, day.env.sim.exo
        several = len(setting.regions) > 1
        for step in day.steps:
            for key, value in step.info.items():
                if key.startswith(("metric/", "reward/", "cost/")):
                    saw(key, value)
            for mode in [] if step.mode is None else np.unique(step.mode):
                saw(f"mode {mode}", np.ones(1))
            now, after = step.before, step.after
            saw("tail", after["tail_min"] > 0)
            saw("unplugged duty", after["duty"] & ~after["plugged"])
            saw("dark", now["dark"] & now["plugged"])
            saw("told what is not so", now["told"] & ~now["mask"])
            saw("not told what is so", now["mask"] & ~now["told"])
            saw("far chat", np.atleast_1d(several * step.info["metric/on_time_chat_8b"]))
            if step.outages.home_fails_h is not None:
                saw("link fails", np.isfinite(step.outages.home_fails_h))
        saw("clock jumps", exo.local.change_h < 24)
        saw("half hours", exo.local.start_h % 1 != 0)
        for kind in (*SHOCKS, *ON_PRICE):
            saw(kind, exo.shocks.of_kind(KINDS.index(kind)) >= 0)
        saw("drawn", np.array([len(day.env.sim.drawn)]))
    never = {"metric/lost_batch_70b", "metric/diverted_batch_70b", "metric/late_batch_70b"}
    missing = [key for key, total in seen.items() if total == 0 and key not in never]
    assert missing == []
    assert {"mode 0", "mode 1", "mode 2", "link fails"} <= seen.keys()
