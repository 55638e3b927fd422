"""What a car-step can earn and must cost at least: optimistic linear pieces (docs/bounds.md 2)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from agents.oracle.public import public_gains, public_usd
from agents.oracle.tape import Tape
from agents.oracle.wear_floor import heat_floor
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import MIN_PER_H, S_PER_MIN

_SMALL_UTIL = 1e-3  # at which the slope of the power over the utilisation is taken
_ROUNDING_KWH = 1e-3  # the simulation compares in float32
_ROUNDING_USD = 1e-5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class CarSteps:
    """The car-steps of a tape as a programme sees them, by car and then by step, shape (n,).

    Energy is DC [kWh] at the pack; money in USD; `duty` is 1 for a car on duty in the step, `busy`
    its hours of work in the step.
    """

    car: IntArray
    step: IntArray
    accelerator: IntArray
    stay: IntArray  # number of the stay, 0, 1, ... through the tape
    may: BoolArray  # can be on duty
    lifted: BoolArray  # public charging may have put it above its twin: limits of charge are off
    same: BoolArray  # the element before is of the same stay
    runs_on: BoolArray  # duty of the step before, if any, goes on without a new start
    on_h: FloatArray  # of duty
    start_h: FloatArray  # of it that a start takes before work can begin
    start_on_h: FloatArray  # less duty if it starts in this step (spread starts)
    speed: FloatArray  # hours of an undisturbed car per busy hour
    duty_usd: FloatArray  # pay and noise per duty
    duty_kwh: FloatArray  # energy awake, per duty
    busy_kwh: FloatArray  # more energy per busy hour, at least
    most_kwh: FloatArray  # energy of duty at full work, at most
    tail_kwh: FloatArray  # energy of the tail where duty ends at the start of this step
    refill_kwh: FloatArray  # most that can be refilled in the step
    refill_usd: FloatArray  # price of a refilled kWh
    ref_usd: FloatArray  # price at which owed energy is booked
    forced: FloatArray  # least share of the step's energy that is refilled in the step
    heat_usd: FloatArray  # wear by heat per kWh of compute
    gap_usd: FloatArray  # wear that an owed kWh saves in the step at most
    start_usd: FloatArray  # of a start; < 0 where a rounding of the wear is given back

    def pick(self, which: IntArray | BoolArray) -> CarSteps:
        """Pick some of the car-steps."""
        return CarSteps(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class _Times:
    """Hours of the car-steps, shape (n,); see `CarSteps`."""

    runs_on: BoolArray
    on_h: FloatArray
    start_h: FloatArray
    start_on_h: FloatArray
    tail_h: FloatArray


@dataclass(frozen=True, slots=True)
class _Power:
    """Power of a car on duty by car-step [kW], shape (n,), and its speed."""

    awake_kw: FloatArray
    busy_kw: FloatArray  # more per busy share, at least
    most_kw: FloatArray  # at full work, at most
    speed: FloatArray


def car_steps(tape: Tape, *, margin_h: float | None = None) -> CarSteps:
    """Work out the pieces of all car-steps of a tape.

    Parameters
    ----------
    tape : Tape
    margin_h : float, optional
        Least margin of the energy manager that a policy may set [h]; None: the card's, for
        policies that cannot.
    """
    sim, v = tape.sim, tape.visits
    car = v.car + tape.cars.start
    chip = sim.world.params.accelerator[car].astype(np.intp)
    same, follows = _same_stay(tape), _follows(tape)
    times, power = _times(tape, chip, follows), _power(tape, chip)
    most_kwh = power.most_kw * times.on_h
    spent = running_total(most_kwh, v.car)
    lifted = v.step > public_gains(tape, spent).first_step[v.car]
    stay = np.cumsum(~same) - 1
    table = sim.world.evse_table
    refill_kwh = np.maximum(table.dc_kw[v.evse] * v.here_h - v.need_kwh, 0.0).astype(np.float64)
    floor = heat_floor(tape, follows, stay, spent)
    return CarSteps(
        car=v.car,
        step=v.step.astype(np.int32),
        accelerator=chip,
        stay=stay,
        may=np.where(lifted, v.may_if_charged, v.may) & (times.on_h > 0),
        lifted=lifted,
        same=same,
        runs_on=times.runs_on,
        on_h=times.on_h,
        start_h=times.start_h,
        start_on_h=times.start_on_h,
        speed=power.speed,
        duty_usd=_duty_usd(tape, times, power),
        duty_kwh=power.awake_kw * times.on_h,
        busy_kwh=power.busy_kw,
        most_kwh=most_kwh,
        tail_kwh=power.awake_kw * times.tail_h,
        refill_kwh=refill_kwh,
        refill_usd=sim.table.price[v.step, v.area].astype(np.float64) / table.eta[v.evse],
        ref_usd=sim.table.ref_price[v.step, v.area] / sim.world.derived.eta_nominal[car],
        forced=_forced(tape, refill_kwh, most_kwh, power.awake_kw, margin_h) * ~lifted,
        heat_usd=floor.heat_usd * ~lifted,
        gap_usd=floor.gap_usd * ~lifted,
        start_usd=floor.start_usd * ~lifted,
    )


def running_total(values: FloatArray, car: IntArray) -> FloatArray:
    """Sum over the car-steps of a car up to each, its own included; sorted by car."""
    total = np.cumsum(values)
    first = np.searchsorted(car, car)
    before = np.concatenate([[0.0], total])[first]
    summed: FloatArray = total - before
    return summed


def _same_stay(tape: Tape) -> BoolArray:
    """Whether the car-step before is of the same stay."""
    v = tape.visits
    same = np.zeros(v.car.shape, np.bool_)
    same[1:] = (v.car[1:] == v.car[:-1]) & (v.stay[1:] == v.stay[:-1])
    return same


def _follows(tape: Tape) -> BoolArray:
    """Whether the car-step before is the step before of the same stay."""
    v = tape.visits
    same = _same_stay(tape)
    same[1:] &= v.step[1:] == v.step[:-1] + 1
    return same


def _times(tape: Tape, chip: IntArray, follows: BoolArray) -> _Times:
    """Hours on duty, of starts and of tails."""
    v, serving = tape.visits, tape.config.serving
    on_h = v.on_h.astype(np.float64)
    runs_on = np.concatenate([[False], v.full])[: len(v.full)] & follows
    if serving.tail_min >= tape.config.step_min:  # still loaded after a step: starts cost nothing
        none = np.zeros(on_h.shape)
        return _Times(runs_on, on_h, none, none, none)
    delay_h = np.minimum(v.delay_h, on_h)
    return _Times(
        runs_on,
        on_h,
        start_h=np.minimum(on_h, delay_h + _start_h(tape)[chip]),
        start_on_h=delay_h,
        tail_h=np.minimum(serving.tail_min / MIN_PER_H, on_h) * runs_on,
    )


def _power(tape: Tape, chip: IntArray) -> _Power:
    """Power awake, its rise with work, and speed.

    The power is convex in the utilisation: its slope at 0 (or the chord to 1, if that is less)
    bounds the rise from below. Of the groups of an accelerator the one that takes least counts.
    """
    sim, v = tape.sim, tape.visits
    table, group_chip = sim.table, sim.setup.group_accelerator
    air = v.garage.astype(np.intp)
    speed = table.speed[v.step, v.area, chip, air] * sim.by_area.throughput_factor[v.area]
    slow = table.speed[:-1][:, :, group_chip]
    first = np.searchsorted(group_chip, np.arange(len(sim.setup.accelerators)))
    group = np.minimum(first, len(group_chip) - 1)[chip]

    def bus_kw(util: float) -> FloatArray:
        return sim.chips.bus_kw(util * slow, table.inlet_c[:-1], group_chip)

    def of_cars(kw: FloatArray) -> FloatArray:
        return kw[v.step, v.area, group, air]  # groups of an accelerator differ in memory only

    idle, full = bus_kw(0.0), bus_kw(1.0)
    slope = np.minimum((bus_kw(_SMALL_UTIL) - idle) / _SMALL_UTIL, full - idle)
    return _Power(of_cars(idle), of_cars(slope), of_cars(full), speed)


def _duty_usd(tape: Tape, times: _Times, power: _Power) -> FloatArray:
    """Pay and noise per duty, less what prices below 0 could pay for energy left out elsewhere.

    That is work above the least slope of the power, bought when it is cheapest, and losses of the
    charger where it feeds the computer alone.
    """
    sim, v, config = tape.sim, tape.visits, tape.config
    world, table = sim.world, sim.table
    quiet = table.quiet[v.step, v.area] & v.home
    usd_per_h = config.reward.pay_usd_per_on_duty_h + config.reward.noise_usd_per_quiet_h * quiet
    regions = slice(tape.row * tape.num_regions, (tape.row + 1) * tape.num_regions)
    eta = float(world.evse_table.eta.min())
    least = min(table.price[:, regions].min(), table.ref_price[:, regions].min(), 0.0) / eta
    least = min(float(least), public_usd(tape))
    more_kw = power.most_kw - power.awake_kw - power.busy_kw
    usd_per_h = usd_per_h + least * more_kw
    if config.energy.source == "grid":
        lost_kw = sim.chips.wall_kw(power.most_kw) - power.awake_kw / world.evse_table.eta[v.evse]
        usd_per_h += np.minimum(table.price[v.step, v.area], 0.0) * np.maximum(lost_kw, 0.0)
    usd: FloatArray = usd_per_h * times.on_h
    return usd


def _start_h(tape: Tape) -> FloatArray:
    """Hours of a cold start with all weights in flash, at least, by accelerator."""
    sim, serving = tape.sim, tape.config.serving
    load_min = sim.setup.weights_gb / (serving.flash_gb_per_s * S_PER_MIN)
    least = np.full(len(sim.setup.accelerators), np.inf)
    np.minimum.at(least, sim.setup.group_accelerator, load_min)
    return (serving.wake_min + np.where(np.isfinite(least), least, 0.0)) / MIN_PER_H


def _forced(
    tape: Tape,
    refill_kwh: FloatArray,
    most_kwh: FloatArray,
    awake_kw: FloatArray,
    margin_h: float | None,
) -> FloatArray:
    """Least share of a step's compute energy that is bought in the step.

    Where the manager cannot draw on the pack (the hour is cheap, or too few cheap ones are left
    even with nothing owed) it refills `min(room, owed + compute)`: at least the compute of the
    step, up to the room. On [0, most] that is above the chord.
    """
    v, energy = tape.visits, tape.config.energy
    if tape.config.feeder.limit:
        return np.zeros(v.car.shape)  # a transformer may cut what is refilled
    share = np.minimum(1.0, refill_kwh / np.maximum(most_kwh, _TINY)) * (v.on_h > 0)
    if energy.source == "grid":
        return share
    return share * ~_may_draw(tape, awake_kw, margin_h)


def _may_draw(tape: Tape, awake_kw: FloatArray, margin_h: float | None = None) -> BoolArray:
    """Car-steps in which the manager could draw on the pack with nothing owed."""
    sim, v, energy = tape.sim, tape.visits, tape.config.energy
    margin_h = energy.margin_h if margin_h is None else margin_h
    table, params = sim.table, sim.world.params
    car = v.car + tape.cars.start
    plug = sim.world.evse_table
    lacking_soc = np.maximum(params.charge_limit[car] - v.twin_soc, 0.0)
    lacking_kwh = lacking_soc * params.pack_kwh[car].astype(np.float64)
    draw = (_cheap_left_h(tape) - margin_h) * plug.dc_kw[v.evse]
    may_draw: BoolArray = draw >= lacking_kwh - _ROUNDING_KWH
    may_draw &= ~table.cheap[v.step, v.area]
    if energy.source == "managed":
        # the charger is least efficient at the lowest power, that of a car without work
        wall_share = sim.chips.wall_kw(awake_kw) / np.maximum(awake_kw, _TINY)
        refill_usd = table.refill_price[v.step, v.area] / plug.eta[v.evse]
        refill_usd += energy.pack_wear_usd_per_kwh
        may_draw &= table.price[v.step, v.area] * wall_share > refill_usd - _ROUNDING_USD
    return may_draw


def _cheap_left_h(tape: Tape) -> FloatArray:
    """Cheap hours in the rest of the stated stay, as the manager counts them."""
    sim, v, dt_h = tape.sim, tape.visits, tape.config.dt_h
    left_h = np.zeros(v.car.shape)
    for step in np.unique(v.step):
        here = v.step == step
        cum, column = sim.exo.cheap_ahead(int(step))
        stay = np.maximum((v.stated_h[here] - (int(step) * dt_h + dt_h)) / dt_h, 0.0)
        end = np.minimum(stay, cum.shape[1] - 1 - column).astype(np.intp) + column
        area = v.area[here]
        left_h[here] = cum[area, end] - cum[area, column]
    return left_h
