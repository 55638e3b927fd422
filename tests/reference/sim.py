"""One step of one row in the order of the specification: the executable form of `docs/model.md`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CLASSES, LINK_CELLULAR
from tests.reference import datacentre, queueing, shocks
from tests.reference.cars import Car, CarState
from tests.reference.duty import start_shift
from tests.reference.feeder import limit_compute
from tests.reference.given import Given
from tests.reference.parked import compute_energy, plan_energy, settle
from tests.reference.pools import Member
from tests.reference.road import leave_and_arrive
from tests.reference.step import Outcome


@dataclass
class Row:
    """A row between two steps."""

    config: EnvConfig
    cars: list[Car]
    states: list[CarState]
    queues: queueing.Queues
    capital: datacentre.Capital = field(default_factory=datacentre.Capital)
    recalled: list[bool] = field(default_factory=list)  # cars that served when weights came out

    def __post_init__(self) -> None:
        self.recalled = self.recalled or [False] * len(self.cars)


def play_step(
    row: Row, given: Given, actions: list[bool], tape: list[list[CarState]], step: int
) -> Outcome:
    """Play step `step` of one row, which is changed in place.

    `tape` holds, for each car, the stays that begin and end inside the step, and last the car after
    the step. Places, plugs, times and trips are taken from it; all that compute changes is worked
    out here.
    """
    config, out = row.config, Outcome()
    t_h = step * config.step_min / 60.0
    pairs = list(zip(row.cars, row.states, strict=True))
    for (car, state), mine, wanted in zip(pairs, given.cars, actions, strict=True):
        weather = given.weather[car.region]
        state.dark = mine.outage.dark  # also for a car that comes home in this step
        out.shifts.append(
            start_shift(config, car, state, weather, mine, t_h, wanted=wanted, out=out)
        )
    serve(row, given, out)
    for (car, state), shift in zip(pairs, out.shifts, strict=True):
        compute_energy(config, car, shift, out)
        plan_energy(config, car, state, shift, given.weather[car.region], t_h)
    limit_compute(config, row.cars, row.states, out.shifts, given.home_kw, t_h, out)
    for i, ((car, state), shift, after) in enumerate(zip(pairs, out.shifts, tape, strict=True)):
        weather, owner_u = given.weather[car.region], partial(given.owner_u, i)
        settle(config, car, state, shift, weather, t_h, out)
        leave_and_arrive(config, car, state, shift, weather, t_h, after, owner_u, out)
    if step + 1 == config.num_steps:
        give_up(row.queues, out)
    begin_next(row, given, (step + 1) * config.step_min / 60.0)
    return out


def begin_next(row: Row, given: Given, t_h: float) -> None:
    """Power that fails or comes back, and weights that are released, at the start of a step."""
    row.recalled = [False] * len(row.cars)
    for i, (car, state, coming) in enumerate(zip(row.cars, row.states, given.next, strict=True)):
        shocks.change_power(row.config, car, state, t_h, dark=coming.dark)
        if coming.release:
            row.recalled[i] = shocks.release(row.config, car, state)


def serve(row: Row, given: Given, out: Outcome) -> None:
    """Send the requests of the step to the cars that serve, and book what comes of it."""
    config = row.config
    factor = config.serving.throughput_factor
    team = [
        Member(
            car.chip, s.serve_from, s.serve_until, s.derate * factor, s.cut, s.stopped, car.region
        )
        for car, s in zip(row.cars, out.shifts, strict=True)
    ]
    service = queueing.play(config, team, row.queues, given.demand)
    out.service = service
    missed = [late + lost for late, lost in zip(service.late, service.lost, strict=True)]
    for c, name in enumerate(CLASSES):
        usd = datacentre.credited_usd(config, c)
        out.pay("avoided", service.on_time[c] * usd)
        if c != BATCH_70B:
            out.pay("slo", -missed[c] * usd * config.reward.slo_penalty)
        for kind in ("arrived", "on_time", "late", "lost", "diverted", "expired"):
            out.count(f"{kind}_{name}", getattr(service, kind)[c])
    out.count("busy_h", service.busy_min / 60.0)
    out.pay("owner", -config.reward.pay_usd_per_on_duty_h * out.metric["on_duty_h"])
    _book_cellular(row, sum(service.dispatched), out)
    _book_capital(row, given, service, out)


def give_up(queues: queueing.Queues, out: Outcome) -> None:
    """What is queued or in flight at the horizon goes to the data centre, nothing is credited."""
    for c, name in enumerate(CLASSES):
        out.count(f"expired_{name}", queues.running[c])
    out.count(f"expired_{CLASSES[BATCH_70B]}", sum(queues.batch_due))


def _book_capital(row: Row, given: Given, service: queueing.Service, out: Outcome) -> None:
    """Pay for what the fleet changes in the running peak of the data centre."""
    if row.config.datacentre.dc_cost != "peak":
        return
    arrived, taken, lost = service.arrived[:2], service.dispatched[:2], service.lost[:2]
    saved = row.capital.step(row.config, arrived, taken, lost)
    out.pay("capacity", given.charge_h * saved)


def _book_cellular(row: Row, requests: float, out: Outcome) -> None:
    """Requests fall on cars by their serving time, whatever their link."""
    cellular_min = total_min = 0.0
    for car, state, shift in zip(row.cars, row.states, out.shifts, strict=True):
        total_min += shift.serve_min
        if car.link(state.place) == LINK_CELLULAR:
            cellular_min += shift.serve_min
    if cellular_min == 0.0:
        return
    gb = requests * cellular_min / total_min * row.config.reward.request_kb / 1e6
    out.count("cellular_gb", gb)
    out.pay("data", -gb * row.config.reward.cellular_usd_per_gb)
