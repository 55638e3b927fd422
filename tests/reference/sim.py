"""One step of one row, in the order of section 2 of the specification: the executable form of `docs/model.md`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from fleet_env.config import EnergyConfig, EnvConfig
from fleet_env.types import BATCH_70B, CLASSES, DRIVING, EVSE_NONE, HOME, LINK_CELLULAR
from tests.reference import ageing, energy, physics, queueing
from tests.reference.cars import Car, CarState, load_min, refusal, twin_soc
from tests.reference.constants import EVSE, PUBLIC_BELOW_SOC, PUBLIC_ETA, PUBLIC_TO_SOC

# the part of the state that mobility writes: the same under every policy
TAPE = (
    *("place", "plugged", "session_ok", "event_h", "event_no", "stated_h", "snooze_h"),
    *("trip_kwh", "twin_ref", "ref_h"),
)
EXCESS_FORGOTTEN_K = 0.05  # parked cars warmer than their twin by less than this are left alone


@dataclass(frozen=True)
class Weather:
    """What the outside does to one row in one step: given, not computed."""

    usd_per_kwh: float
    ref_usd_per_kwh: float
    threshold_usd_per_kwh: float
    cheap_now: bool
    cheap_later: tuple[bool, ...]  # the steps after this one
    carbon_kg_per_kwh: float
    ref_carbon_kg_per_kwh: float
    ambient_c: float
    pack_c: float  # of the twins

    def tariff(self, manager: EnergyConfig) -> energy.Tariff:
        """What the energy manager knows."""
        return energy.Tariff(
            self.usd_per_kwh,
            self.threshold_usd_per_kwh,
            self.cheap_now,
            manager.pack_wear_usd_per_kwh,
            manager.margin_h,
        )


@dataclass
class Shift:
    """One car's part of a step: filled from top to bottom."""

    duty: bool = False
    stays: bool = False  # on duty to the end of the step
    allowed: bool = False  # the mask
    on_min: float = 0.0  # on duty
    serve_from: float = 0.0
    serve_min: float = 0.0
    awake_min: float = 0.0
    plug_h: float = 0.0
    air_c: float = 0.0  # at the inlet
    derate: float = 1.0
    cut: bool = False  # was serving until a departure or a call-back
    stopped: bool = False  # taken off duty by the agent while it could serve
    cold_start: bool = False
    downloaded_gb: float = 0.0
    compute_kwh: float = 0.0
    compute_wall_kwh: float = 0.0
    flow: energy.Flow | None = None
    twin_after_trip: float | None = None  # soc with which the twin set out, less the trip


@dataclass
class Outcome:
    """Everything a step reports about its row."""

    reward: dict[str, float] = field(default_factory=dict)
    metric: dict[str, float] = field(default_factory=dict)
    shifts: list[Shift] = field(default_factory=list)
    service: queueing.Service | None = None

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a metric."""
        self.metric[name] = self.metric.get(name, 0.0) + amount

    def pay(self, term: str, usd: float) -> None:
        """Add to a term of the ledger; costs are negative."""
        self.reward[term] = self.reward.get(term, 0.0) + usd


def play_step(
    config: EnvConfig,
    cars: list[Car],
    states: list[CarState],
    queues: queueing.Queues,
    weather: Weather,
    demand: queueing.Demand,
    actions: list[bool],
    tape: list[CarState],
    step: int,
) -> Outcome:
    """Play step `step` of one row; `states` and `queues` are changed in place.

    `tape` holds the cars after the step: its upper group (places, plugs, times, trips) is taken over, everything that
    compute changes is worked out here.
    """
    t_h = step * config.dt_h
    out = Outcome(reward=dict.fromkeys(("avoided", "energy", "wear", "owner", "data", "slo"), 0.0))
    for car, state, wanted in zip(cars, states, actions, strict=True):
        out.shifts.append(start_shift(config, car, state, weather, t_h, wanted=wanted, out=out))
    serve(config, cars, states, queues, demand, out)
    for car, state, shift, after in zip(cars, states, out.shifts, tape, strict=True):
        compute_energy(config, car, shift, out)
        settle(config, car, state, shift, weather, t_h, out)
        leave_and_arrive(config, car, state, shift, weather, t_h, after, out)
    if step + 1 == config.num_steps:
        give_up(queues, out)
    return out


# 2.1 to 2.3: project, presence, wake and load


def start_shift(
    config: EnvConfig,
    car: Car,
    state: CarState,
    weather: Weather,
    t_h: float,
    *,
    wanted: bool,
    out: Outcome,
) -> Shift:
    """Decide whether and when in the step this car is on duty, awake and serving."""
    inlet_c = air_c(config, car, state, weather)
    soc = twin_soc(car, state, t_h, config.fleet.standby_w) - state.gap
    shift = Shift(air_c=inlet_c, derate=physics.derating(inlet_c, config.thermal))
    hot = inlet_c >= config.thermal.off_from_c
    reason = refusal(config, car, state, t_h, soc, hot=hot)
    shift.allowed = reason is None
    shift.duty = wanted and shift.allowed
    if wanted and reason:
        out.count(f"refused_{reason}")
    until_h = t_h + config.dt_h
    end_h = min(state.event_h, state.snooze_h, until_h)
    here_min = max(0.0, 60.0 * (end_h - t_h)) if end_h < until_h else float(config.step_min)
    shift.plug_h = max(0.0, min(state.event_h, until_h) - t_h)
    leaves = end_h < until_h
    if shift.duty:
        _wake(config, car, state, shift, here_min)
        shift.cut = leaves and shift.serve_min > 0.0
    else:
        shift.stopped = state.duty and state.ready_min == 0.0
        _fall_asleep(config, state, shift, here_min)
    if leaves:  # departure or call-back ends duty and tail: memory is lost
        state.ready_min, state.tail_min = 0.0, 0.0
    shift.stays = shift.duty and not leaves
    out.count("on_duty_h", shift.on_min / 60.0)
    out.count("serving_h", shift.serve_min / 60.0)
    out.count("started", float(shift.cold_start))
    out.count("downloaded_gb", shift.downloaded_gb)
    return shift


def air_c(config: EnvConfig, car: Car, state: CarState, weather: Weather) -> float:
    """Inlet temperature of the car's computer; a garage warms cars parked at home only."""
    heat_w = physics.full_heat_w(car.accelerator, config.serving, config.thermal)
    return physics.inlet_c(weather.ambient_c, in_garage(car, state), heat_w, config.thermal)


def in_garage(car: Car, state: CarState) -> bool:
    """Whether the car stands in its own closed garage."""
    return car.closed_garage and state.place == HOME


def _wake(
    config: EnvConfig, car: Car, state: CarState, shift: Shift, here_min: float
) -> None:
    loading_min = load_min(car, config)
    if not state.duty and state.tail_min == 0.0:
        shift.cold_start = True
        download_min = state.weights_gb * 8000.0 / car.down_mbps / 60.0
        state.ready_min = config.serving.wake_min + loading_min + download_min
    state.tail_min = 0.0
    shift.on_min = here_min
    shift.awake_min = here_min
    shift.serve_from = min(state.ready_min, here_min)
    shift.serve_min = here_min - shift.serve_from
    state.ready_min = max(0.0, state.ready_min - shift.serve_from)
    still_gb = max(0.0, state.ready_min - loading_min) * 60.0 * car.down_mbps / 8000.0
    shift.downloaded_gb = max(0.0, state.weights_gb - still_gb)
    state.weights_gb = min(state.weights_gb, still_gb)


def _fall_asleep(config: EnvConfig, state: CarState, shift: Shift, here_min: float) -> None:
    if state.duty:
        state.tail_min = config.serving.tail_min
    shift.awake_min = min(state.tail_min, here_min)
    state.tail_min -= shift.awake_min
    if state.tail_min == 0.0:
        state.ready_min = 0.0


# 2.4 and the money of section 4 that hangs on it: requests


def serve(
    config: EnvConfig,
    cars: list[Car],
    states: list[CarState],
    queues: queueing.Queues,
    demand: queueing.Demand,
    out: Outcome,
) -> None:
    """Send the requests of the step to the cars that serve, and book what comes of it."""
    teams = [
        queueing.Member(car.chip, shift.serve_from, shift.on_min, shift.derate, shift.cut, shift.stopped)
        for car, shift in zip(cars, out.shifts, strict=True)
    ]
    service = queueing.play(config, teams, queues, demand)
    out.service = service
    prices = request_usd(config)
    missed = [late + lost for late, lost in zip(service.late, service.lost, strict=True)]
    for c, name in enumerate(CLASSES):
        out.pay("avoided", service.on_time[c] * prices[c])
        if c != BATCH_70B:
            out.pay("slo", -missed[c] * prices[c] * config.reward.slo_penalty)
        for kind in ("arrived", "on_time", "late", "lost", "diverted", "expired"):
            out.count(f"{kind}_{name}", getattr(service, kind)[c])
    out.count("busy_h", service.busy_min / 60.0)
    out.pay("owner", -config.reward.pay_usd_per_on_duty_h * out.metric["on_duty_h"])
    _book_cellular(config, cars, states, sum(service.dispatched), out)


def give_up(queues: queueing.Queues, out: Outcome) -> None:
    """What is queued or in flight at the horizon goes to the data centre, nothing is credited."""
    for c, name in enumerate(CLASSES):
        out.count(f"expired_{name}", queues.running[c])
    out.count(f"expired_{CLASSES[BATCH_70B]}", sum(queues.batch_due))


def request_usd(config: EnvConfig) -> tuple[float, float, float]:
    """Price of a request of each class in the data centre, at the default mix of tokens."""
    assert (config.demand.input_tokens, config.demand.output_tokens) == (1155.0, 211.0)
    centre = config.datacentre
    chat_8b = centre.usd_per_mtok_8b * 211.0 / 1e6
    chat_70b = centre.usd_per_mtok_70b * 211.0 / 1e6
    return chat_8b, chat_70b, chat_70b * (1.0 - centre.batch_discount)


def _book_cellular(
    config: EnvConfig, cars: list[Car], states: list[CarState], requests: float, out: Outcome
) -> None:
    """Requests fall on cars by their serving time, whatever their link."""
    cellular_min = total_min = 0.0
    for car, state, shift in zip(cars, states, out.shifts, strict=True):
        total_min += shift.serve_min
        if car.link(state.place) == LINK_CELLULAR:
            cellular_min += shift.serve_min
    if cellular_min == 0.0:
        return
    gb = requests * cellular_min / total_min * config.reward.request_kb / 1e6
    out.count("cellular_gb", gb)
    out.pay("data", -gb * config.reward.cellular_usd_per_gb)


# 2.5 to 2.7: power and energy


def compute_energy(
    config: EnvConfig, car: Car, shift: Shift, out: Outcome
) -> None:
    """Energy of the awake minutes at the bus and, were the car to charge nothing, at the wall."""
    if shift.awake_min == 0.0:
        return
    assert out.service is not None
    util = out.service.util[car.chip] * shift.derate  # a chip slowed by heat takes less power
    serve_kw = physics.bus_kw(car.accelerator, util, shift.air_c, config.serving, config.thermal)
    idle_kw = physics.bus_kw(car.accelerator, 0.0, shift.air_c, config.serving, config.thermal)
    idle_h, serve_h = (shift.awake_min - shift.serve_min) / 60.0, shift.serve_min / 60.0
    shift.compute_kwh = idle_kw * idle_h + serve_kw * serve_h
    shift.compute_wall_kwh = physics.wall_kw(idle_kw) * idle_h + physics.wall_kw(serve_kw) * serve_h


def energy_flow(
    config: EnvConfig, car: Car, state: CarState, shift: Shift, weather: Weather, t_h: float
) -> energy.Flow:
    """Run the energy manager for one car."""
    plug = car.evse(state.place) if state.plugged else EVSE[EVSE_NONE]
    twin0 = twin_soc(car, state, t_h, config.fleet.standby_w)
    twin1 = twin_soc(car, state, t_h + shift.plug_h, config.fleet.standby_w)
    wish = energy.Wish(
        dc_kw=plug.dc_kw,
        ac_kw=plug.ac_kw,
        eta=plug.eta,
        plug_h=shift.plug_h,
        awake_h=shift.awake_min / 60.0,
        need_kwh=(twin1 - twin0) * car.pack_kwh if state.plugged else 0.0,
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
    return {"grid": energy.grid, "pack": energy.pack, "fill": energy.fill}[mode](wish)


def cheap_left_h(weather: Weather, stated_h: float, t_h: float, dt_h: float) -> float:
    """Cheap hours in the steps after this one, inside the stated stay."""
    left_h = 0.0
    for i, cheap in enumerate(weather.cheap_later, start=1):
        begin_h = t_h + i * dt_h
        if cheap and begin_h + dt_h <= stated_h + 1e-9:
            left_h += dt_h
    return left_h


# 2.6 to 2.8: what the step leaves behind in a parked car


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
    warm = state.excess_k > EXCESS_FORGOTTEN_K
    active = shift.awake_min > 0.0 or (state.plugged and state.gap != 0.0) or warm
    if state.place == DRIVING or not active:
        return
    standby_w = config.fleet.standby_w
    flow = energy_flow(config, car, state, shift, weather, t_h)
    shift.flow = flow
    twin0 = twin_soc(car, state, t_h, standby_w)
    twin1 = twin_soc(car, state, t_h + shift.plug_h, standby_w)
    need_kwh = (twin1 - twin0) * car.pack_kwh if state.plugged else 0.0
    soc0 = twin0 - state.gap
    gap_growth = (need_kwh - flow.stored_kwh) / car.pack_kwh
    state.gap += gap_growth
    _book_energy(car, weather, flow.metered_kwh - flow.twin_metered_kwh, gap_growth, out)
    if need_kwh > flow.stored_kwh:
        out.count("pack_kwh", min(shift.compute_kwh, need_kwh - flow.stored_kwh))
    _warm_up(config, car, state, shift, weather)
    _age(config, car, state, shift, weather, need_kwh, (soc0, twin0, twin1), out)


def _book_energy(
    car: Car, weather: Weather, metered_kwh: float, gap_growth: float, out: Outcome
) -> None:
    owed_kwh = gap_growth * car.pack_kwh / car.nominal_eta
    out.pay("energy", -weather.usd_per_kwh * metered_kwh - weather.ref_usd_per_kwh * owed_kwh)
    out.count("metered_kwh", metered_kwh)
    out.count("wall_kwh", metered_kwh + owed_kwh)
    out.count("carbon_kg", weather.carbon_kg_per_kwh * metered_kwh)
    out.count("carbon_kg", weather.ref_carbon_kg_per_kwh * owed_kwh)


def _warm_up(
    config: EnvConfig, car: Car, state: CarState, shift: Shift, weather: Weather
) -> None:
    heat_w = 1000.0 * shift.compute_kwh / config.dt_h
    target_k = physics.excess_target_k(
        heat_w, in_garage(car, state), weather.ambient_c, config.thermal
    )
    state.excess_k = physics.lag(
        state.excess_k, target_k, config.dt_h, config.thermal.pack_tau_h
    )


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
    if stored_kwh != 0.0 and (stored_kwh < 0.0) != state.falling:
        state.falling = stored_kwh < 0.0
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


# 2.9 and 2.10: owners and mobility


def leave_and_arrive(
    config: EnvConfig,
    car: Car,
    state: CarState,
    shift: Shift,
    weather: Weather,
    t_h: float,
    after: CarState,
    out: Outcome,
) -> None:
    """Departure and arrival inside the step; then take over the tape."""
    until_h = t_h + config.dt_h
    if state.place != DRIVING and state.event_h < until_h:
        twin = twin_soc(car, state, state.event_h, config.fleet.standby_w)
        _owner(config, car, state, twin, shift, out)
        shift.twin_after_trip = _depart(config, car, state, twin, weather, out)
    _take_over(state, after)
    state.duty = shift.stays


def _owner(
    config: EnvConfig, car: Car, state: CarState, twin: float, shift: Shift, out: Outcome
) -> None:
    reward = config.reward
    out.count("departures", float(shift.duty))
    short = min(car.target_soc, twin) - (twin - state.gap)
    if short <= reward.shortfall_deadband_soc:
        return
    kwh = (short - reward.shortfall_deadband_soc) * car.pack_kwh
    out.pay("owner", -(reward.shortfall_usd + reward.shortfall_usd_per_kwh * kwh))
    out.count("shortfalls")
    out.count("shortfall_kwh", kwh)
    out.count("broken_promises", float(state.event_h >= state.stated_h))


def after_trip(soc: float, trip_soc: float, pack_kwh: float) -> tuple[float, float]:
    """Soc behind a trip, and what was charged publicly before it [kWh at the meter]."""
    public_kwh = 0.0
    if soc - trip_soc < PUBLIC_BELOW_SOC and soc < PUBLIC_TO_SOC:
        public_kwh = (PUBLIC_TO_SOC - soc) * pack_kwh / PUBLIC_ETA
        soc = PUBLIC_TO_SOC
    return soc - trip_soc, public_kwh


def _depart(
    config: EnvConfig, car: Car, state: CarState, twin: float, weather: Weather, out: Outcome
) -> float:
    """Take the trip off car and twin alike; return the soc of the twin."""
    trip_soc = state.trip_kwh / car.pack_kwh
    soc, public_kwh = after_trip(twin - state.gap, trip_soc, car.pack_kwh)
    twin, twin_public_kwh = after_trip(twin, trip_soc, car.pack_kwh)
    extra_kwh = public_kwh - twin_public_kwh
    out.pay("owner", -config.energy.public_usd_per_kwh * extra_kwh)
    out.count("public_kwh", extra_kwh)
    jump = (twin - soc) - state.gap
    state.gap = twin - soc
    _book_energy(car, weather, 0.0, jump, out)
    state.excess_k = 0.0
    return twin


def _take_over(state: CarState, after: CarState) -> None:
    """Follow the tape; an arrival restarts the depth of the cycle in hand."""
    arrived = after.event_no != state.event_no
    for name in TAPE:
        setattr(state, name, getattr(after, name))
    if arrived:
        state.anchor, state.falling = state.twin_ref - state.gap, False


