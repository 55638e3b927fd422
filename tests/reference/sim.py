"""One step of one row in the order of the specification: the executable form of `docs/model.md`."""

from __future__ import annotations

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CLASSES, LINK_CELLULAR
from tests.reference import queueing
from tests.reference.cars import Car, CarState
from tests.reference.duty import start_shift
from tests.reference.parked import compute_energy, settle
from tests.reference.road import leave_and_arrive
from tests.reference.step import Outcome, Weather


def play_step(
    config: EnvConfig,
    cars: list[Car],
    states: list[CarState],
    queues: queueing.Queues,
    weather: Weather,
    demand: queueing.Demand,
    actions: list[bool],
    tape: list[list[CarState]],
    step: int,
) -> Outcome:
    """Play step `step` of one row; `states` and `queues` are changed in place.

    `tape` holds, for each car, the stays that begin and end inside the step, and last the car after
    the step. Places, plugs, times and trips are taken from it; all that compute changes is worked
    out here.
    """
    t_h = step * config.dt_h
    out = Outcome()
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
        queueing.Member(car.chip, s.serve_from, s.on_min, s.derate, s.cut, s.stopped)
        for car, s in zip(cars, out.shifts, strict=True)
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
