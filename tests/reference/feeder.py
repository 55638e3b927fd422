"""What a service transformer leaves to compute: homes first, then charging (section 5.3)."""

from __future__ import annotations

from dataclasses import replace

from fleet_env.config import EnvConfig
from fleet_env.types import HOME
from tests.reference import areas, energy
from tests.reference.cars import Car, CarState, twin_soc
from tests.reference.step import Outcome, Shift


def limit_compute(
    config: EnvConfig,
    cars: list[Car],
    states: list[CarState],
    shifts: list[Shift],
    home_kw: tuple[float, ...],
    t_h: float,
    out: Outcome,
) -> None:
    """Cut what compute draws beyond the rating of each transformer; `home_kw` is the homes' own."""
    if not config.feeder.limit:
        return
    for number in range(areas.num_neighbourhoods(config)):
        at_home = [
            (car, state, shift)
            for car, state, shift in zip(cars, states, shifts, strict=True)
            if car.neighbourhood == number and state.place == HOME
        ]
        charging_kwh = sum(twin_meter_kwh(config, *one, t_h) for one in at_home)
        spare_kwh = headroom_kwh(config, home_kw[number], charging_kwh)
        if spare_kwh < 0.0:  # the utility's matter
            out.count("feeder_over_h", config.dt_h)
        _share_out(max(0.0, spare_kwh), [shift for _, _, shift in at_home], out)


def headroom_kwh(config: EnvConfig, home_kw: float, charging_kwh: float) -> float:
    """What the rating leaves in a step; negative where it is exceeded without compute."""
    cap_kw = config.feeder.usable_share * config.feeder.kva
    return (cap_kw - home_kw) * config.dt_h - charging_kwh


def twin_meter_kwh(config: EnvConfig, car: Car, state: CarState, shift: Shift, t_h: float) -> float:
    """Meter of a car that never computed, until it leaves."""
    if not state.powered:
        return 0.0
    standby_w = config.fleet.standby_w
    twin0 = twin_soc(car, state, t_h, standby_w)
    twin1 = twin_soc(car, state, t_h + shift.plug_h, standby_w)
    return (twin1 - twin0) * car.pack_kwh / car.evse(state.place).eta


def _share_out(spare_kwh: float, shifts: list[Shift], out: Outcome) -> None:
    """All that compute adds is cut alike."""
    wanted_kwh = sum(max(0.0, added_kwh(shift)) for shift in shifts)
    if wanted_kwh <= spare_kwh:
        return
    for shift in shifts:
        more_kwh = added_kwh(shift)
        if more_kwh > 0.0 and shift.wish and shift.flow:
            cut_kwh = (1.0 - spare_kwh / wanted_kwh) * more_kwh
            shift.flow = cut(shift.wish, shift.flow, cut_kwh)
            out.count("feeder_cut_kwh", cut_kwh)


def added_kwh(shift: Shift) -> float:
    """What compute adds at the meter of a car."""
    return shift.flow.metered_kwh - shift.flow.twin_metered_kwh if shift.flow else 0.0


def cut(wish: energy.Wish, flow: energy.Flow, cut_kwh: float) -> energy.Flow:
    """Draw less: the pack feeds what the transformer cannot, and never more than is computed.

    (A charger that only computes wastes more than at full power; a pack that does it wastes none.)
    """
    floor_kwh = min(flow.stored_kwh, wish.need_kwh - wish.compute_kwh)
    stored_kwh = max(flow.stored_kwh - cut_kwh * wish.eta, floor_kwh)
    delivered_kwh = stored_kwh + wish.compute_kwh
    return replace(
        flow,
        metered_kwh=flow.metered_kwh - cut_kwh,
        stored_kwh=stored_kwh,
        throughput_kwh=min(  # where compute is fed first, each kWh cut adds one at most
            energy.burst_throughput_kwh(wish, delivered_kwh),
            flow.throughput_kwh + flow.stored_kwh - stored_kwh,
        ),
    )
