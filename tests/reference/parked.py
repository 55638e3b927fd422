"""Energy, heat and wear of a car that stands (sections 2.5 to 2.8), and in what order."""

from __future__ import annotations

from fleet_env.config import EnvConfig
from fleet_env.types import DRIVING, EVSE_NONE
from tests.reference import ageing, energy, physics
from tests.reference.cars import Car, CarState, twin_soc
from tests.reference.constants import EVSE
from tests.reference.duty import in_garage
from tests.reference.step import Outcome, Shift, Weather

CLOSED_KWH = 1e-5  # a gap below this is rounding: the car is where its twin is
STILL_KWH = 1e-9  # what moves the charge by less is rounding
EXCESS_FORGOTTEN_K = 0.05  # parked cars warmer than their twin by less than this are left alone


def compute_energy(config: EnvConfig, car: Car, shift: Shift, out: Outcome) -> None:
    """Energy of the awake minutes at the bus and, were the car to charge nothing, at the wall."""
    if shift.awake_min == 0.0:
        return
    assert out.service is not None
    util = out.service.util.get((car.region, car.chip), 0.0)
    util *= shift.derate  # a chip slowed by heat takes less power
    serve_kw = physics.bus_kw(car.accelerator, util, shift.air_c, config.serving, config.thermal)
    idle_kw = physics.bus_kw(car.accelerator, 0.0, shift.air_c, config.serving, config.thermal)
    idle_h, serve_h = (shift.awake_min - shift.serve_min) / 60.0, shift.serve_min / 60.0
    shift.compute_kwh = idle_kw * idle_h + serve_kw * serve_h
    shift.compute_wall_kwh = physics.wall_kw(idle_kw) * idle_h + physics.wall_kw(serve_kw) * serve_h


def plan_energy(
    config: EnvConfig, car: Car, state: CarState, shift: Shift, weather: Weather, t_h: float
) -> None:
    """Run the energy manager for one car, before its transformer has a say."""
    warm = state.excess_k > EXCESS_FORGOTTEN_K
    working = shift.duty or state.duty  # on duty, or in the tail, be it of no length
    active = working or shift.awake_min > 0.0 or (state.powered and state.gap != 0.0) or warm
    if state.place == DRIVING or not active:
        return
    plug = car.evse(state.place) if state.powered else EVSE[EVSE_NONE]
    twin0 = twin_soc(car, state, t_h, config.fleet.standby_w)
    twin1 = twin_soc(car, state, t_h + shift.plug_h, config.fleet.standby_w)
    wish = energy.Wish(
        dc_kw=plug.dc_kw,
        ac_kw=plug.ac_kw,
        eta=plug.eta,
        plug_h=shift.plug_h,
        awake_h=shift.awake_min / 60.0,
        need_kwh=(twin1 - twin0) * car.pack_kwh if state.powered else 0.0,
        owed_kwh=state.gap * car.pack_kwh,
        compute_kwh=shift.compute_kwh,
        compute_wall_kwh=shift.compute_wall_kwh,
    )
    room_kwh = max(0.0, car.charge_limit - twin0) * car.pack_kwh
    soc_after_compute = twin0 - state.gap - wish.compute_kwh / car.pack_kwh
    mode = energy.mode(
        config.energy.source,
        wish,
        weather.tariff(config.energy),
        refill_kwh=wish.owed_kwh + wish.compute_kwh + room_kwh,
        cheap_left_h=cheap_left_h(weather, state.stated_h, t_h, config.dt_h),
        above_reserve=soc_after_compute > car.reserve_soc,
    )
    shift.wish = wish
    shift.flow = {"grid": energy.grid, "pack": energy.pack, "fill": energy.fill}[mode](wish)


def cheap_left_h(weather: Weather, stated_h: float, t_h: float, dt_h: float) -> float:
    """Cheap hours in the steps after this one, inside the stated stay."""
    left_h = 0.0
    for i, cheap in enumerate(weather.cheap_later, start=1):
        begin_h = t_h + i * dt_h
        if cheap and begin_h + dt_h <= stated_h + 1e-9:
            left_h += dt_h
    return left_h


def settle(
    config: EnvConfig,
    car: Car,
    state: CarState,
    shift: Shift,
    weather: Weather,
    t_h: float,
    out: Outcome,
) -> None:
    """Move meter, gap, pack temperature and fade of one parked car to the end of its step."""
    flow = shift.flow
    if flow is None or shift.wish is None:
        return
    twin0 = twin_soc(car, state, t_h, config.fleet.standby_w)
    twin1 = twin_soc(car, state, t_h + shift.plug_h, config.fleet.standby_w)
    need_kwh = shift.wish.need_kwh
    soc0 = twin0 - state.gap
    gap = state.gap + (need_kwh - flow.stored_kwh) / car.pack_kwh
    gap = gap if abs(gap) * car.pack_kwh >= CLOSED_KWH else 0.0
    gap_growth, state.gap = gap - state.gap, gap
    book_energy(car, weather, flow.metered_kwh - flow.twin_metered_kwh, gap_growth, out)
    out.count("pack_kwh", max(0.0, need_kwh - flow.stored_kwh))
    _warm_up(config, car, state, shift, weather)
    _age(config, car, state, shift, weather, need_kwh, (soc0, twin0, twin1), out)


def book_energy(
    car: Car, weather: Weather, metered_kwh: float, gap_growth: float, out: Outcome
) -> None:
    owed_kwh = gap_growth * car.pack_kwh / car.nominal_eta
    out.pay("energy", -weather.usd_per_kwh * metered_kwh - weather.ref_usd_per_kwh * owed_kwh)
    out.count("metered_kwh", metered_kwh)
    out.count("wall_kwh", metered_kwh + owed_kwh)
    out.count("carbon_kg", weather.carbon_kg_per_kwh * metered_kwh)
    out.count("carbon_kg", weather.ref_carbon_kg_per_kwh * owed_kwh)


def _warm_up(config: EnvConfig, car: Car, state: CarState, shift: Shift, weather: Weather) -> None:
    heat_w = 1000.0 * shift.compute_kwh / config.dt_h
    target_k = physics.excess_target_k(
        heat_w, in_garage(car, state), weather.ambient_c, config.thermal
    )
    state.excess_k = physics.lag(state.excess_k, target_k, config.dt_h, config.thermal.pack_tau_h)


def _age(
    config: EnvConfig,
    car: Car,
    state: CarState,
    shift: Shift,
    weather: Weather,
    need_kwh: float,
    socs: tuple[float, float, float],
    out: Outcome,
) -> None:
    assert shift.flow is not None
    soc0, twin0, twin1 = socs
    soc1 = twin1 - state.gap
    stored_kwh = shift.flow.stored_kwh
    change_kwh = stored_kwh if state.powered else stored_kwh + (twin1 - twin0) * car.pack_kwh
    if abs(change_kwh) > STILL_KWH and (change_kwh < 0.0) != state.falling:
        state.falling = change_kwh < 0.0
        state.anchor = soc0
    car_c = weather.pack_c + state.excess_k
    fade = ageing.calendar_fade(
        car.chemistry, car.cal_gain, 0.5 * (soc0 + soc1), car_c, config.dt_h
    ) + _cycle(car, shift, shift.flow.throughput_kwh, abs(soc1 - state.anchor), car_c)
    twin_fade = ageing.calendar_fade(
        car.chemistry, car.cal_gain, 0.5 * (twin0 + twin1), weather.pack_c, config.dt_h
    ) + _cycle(car, shift, need_kwh, abs(twin1 - state.twin_ref), weather.pack_c)
    extra = fade - twin_fade
    usd_per_fade = config.reward.pack_usd_per_kwh * car.pack_kwh
    usd_per_fade /= 1.0 - config.reward.end_of_life_soh
    out.pay("wear", -max(0.0, extra) * usd_per_fade)
    out.count("signed_wear_usd", extra * usd_per_fade)
    out.count("extra_fade", extra)


def _cycle(car: Car, shift: Shift, throughput_kwh: float, depth: float, pack_c: float) -> float:
    if throughput_kwh == 0.0:
        return 0.0
    efc = throughput_kwh / (2.0 * car.pack_kwh)
    c_rate = throughput_kwh / shift.plug_h / car.pack_kwh
    return ageing.cycle_fade(car.chemistry, car.cyc_gain, depth, c_rate, pack_c, efc)
