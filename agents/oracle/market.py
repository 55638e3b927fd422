"""The shared side of a scenario: requests by step, what they pay, how fast cars serve them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agents.oracle.economics import CarSteps
from agents.oracle.programme import Programme
from agents.oracle.tape import Tape
from fleet_env.dynamics.capacity import HourPeak
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.dynamics.serving_setup import ServingSetup
from fleet_env.rewards import average_prices, load_usd_per_h
from fleet_env.types import BATCH_70B, CLASSES, FloatArray, IntArray
from fleet_env.units import MIN_PER_H


@dataclass(frozen=True, slots=True)
class Market:
    """Requests and prices of a row; `T` steps, `a` accelerators, `b` deadline buckets.

    Requests of a class are counted in *lots*: what the accelerator that serves most does in an
    hour, so that all numbers of a programme are of order 1.
    """

    price_usd: FloatArray  # (3,) credit of a lot
    per_h: FloatArray  # (a, 3) lots of a car-hour of work, 0 where the model does not fit
    chat: FloatArray  # (T, 2) eligible lots
    batch: FloatArray  # (T, b)
    due_steps: tuple[int, ...]  # (b,) steps after that of the arrival in which work may start
    chat_share: FloatArray  # (T,) most of the capacity that chat may load
    dt_h: float
    charge_h: float  # on the peak of the data centre [USD per USD/h]; 0: none
    chat_usd: FloatArray  # (2,) average prices, at which its load is counted
    chat_all: FloatArray  # (T, 2) with the requests that may not leave it

    @property
    def num_steps(self) -> int:
        """Steps of the episode."""
        return len(self.chat)


def market(tape: Tape, cars: CarSteps) -> Market:
    """Collect the shared side of a tape.

    Parameters
    ----------
    tape : Tape
    cars : CarSteps
        All car-steps of the tape: how many cars could serve at once bounds what waiting costs.
    """
    sim, setup, config = tape.sim, tape.sim.setup, tape.config
    price_usd = np.broadcast_to(sim.ledger.price_usd, (sim.num_envs, len(CLASSES)))[tape.row]
    per_h = _requests_per_h(setup)
    lot = np.where(per_h.any(axis=0), per_h.max(axis=0), 1.0)
    average = average_prices(config, datacentre_price(config.datacentre))
    return Market(
        price_usd=price_usd * lot,
        per_h=per_h / lot,
        chat=tape.chat / lot[:BATCH_70B],
        batch=tape.batch / lot[BATCH_70B],
        due_steps=setup.due_steps,
        chat_share=_chat_share(tape, cars),
        dt_h=config.dt_h,
        charge_h=sim.ledger.capacity.charge_h,
        chat_usd=average[:BATCH_70B] * lot[:BATCH_70B],
        chat_all=tape.chat_all / lot[:BATCH_70B],
    )


def share_of(shop: Market, part: FloatArray, everyone: FloatArray, heads: float) -> Market:
    """Cut the demand of a row to what falls to some of its cars.

    Parameters
    ----------
    shop : Market
    part, everyone : FloatArray, shape (T,)
        Lots that these cars, and all cars, could serve in each step. Batch work counts them from
        its arrival to its deadline.
    heads : float
        Share of the cars, taken where nobody could serve.
    """
    now = _share(part, everyone, 1, heads)[:, None]
    later = [_share(part, everyone, due + 1, heads) for due in shop.due_steps]
    return replace(
        shop,
        chat=shop.chat * now,
        batch=shop.batch * np.stack(later, axis=1),
        chat_all=shop.chat_all * now,
    )


def _share(part: FloatArray, everyone: FloatArray, steps: int, other: float) -> FloatArray:
    """Share of sums over so many steps from each on, shape (T,)."""
    end = np.minimum(np.arange(len(part)) + steps, len(part))
    sums = [np.concatenate([[0.0], np.cumsum(lots)]) for lots in (part, everyone)]
    own, total = (cum[end] - cum[:-1] for cum in sums)
    share: FloatArray = np.full(len(part), other)
    np.divide(own, total, out=share, where=total > 1e-9 * max(sums[1][-1], 1e-9))
    return share


def _requests_per_h(setup: ServingSetup) -> FloatArray:
    """Count what a car does in an hour, at most, by accelerator and class [requests].

    As the pools count: a car is worth its speed in reference cars in every class alike.
    """
    per_h = np.zeros((len(setup.accelerators), len(CLASSES)))
    for pool in setup.pools:
        need_min = pool.need_min[:, 0]
        some = need_min > 0
        for group, speed in zip(pool.groups, pool.speed, strict=True):
            chip = setup.group_accelerator[group]
            own = speed * MIN_PER_H / need_min[some]
            per_h[chip, some] = np.maximum(per_h[chip, some], own)
    return per_h


def _chat_share(tape: Tape, cars: CarSteps) -> FloatArray:
    """Largest load per server at which chat still meets its limit, were all cars to serve.

    It grows with the number of servers, so that fewer cars admit at most this share of theirs.
    """
    setup, config = tape.sim.setup, tape.config
    most = np.bincount(cars.step, cars.speed * cars.may, minlength=config.num_steps)
    fastest = max(max(pool.speed) for pool in setup.pools)
    slots = np.maximum(most * fastest * setup.batch_slots, 1.0)
    share = [pool.table.rho_max(pool.table.locate(slots)) for pool in setup.pools]
    largest: FloatArray = np.clip(np.max(share, axis=0), 0.0, 1.0)
    return largest


def peak_without_cars(shop: Market) -> float:
    """Peak of the hour-mean load of the data centre if no car serves [USD/h]."""
    running = HourPeak(1, shop.dt_h)
    for lots in shop.chat_all:
        running.advance(load_usd_per_h(lots[None], shop.chat_usd, shop.dt_h))
    return float(running.peak[0])


@dataclass(frozen=True, slots=True)
class Shared:
    """Numbers of the rows and columns that cars and requests share."""

    capacity: IntArray  # (T, a) rows `work of cars - work on requests >= 0` [h]
    ready: IntArray  # (T,) rows `share of ready cars - chat work >= 0` [h]
    work: IntArray  # (T, a, 3) columns of work on a class [h], -1 where the model does not fit


def shared_rows(model: Programme, shop: Market, scale: float) -> Shared:
    """Columns and rows of the requests: who serves what, when, for what credit.

    `scale` is the share of the demand that falls to the cars of the programme.
    """
    steps, chips = shop.num_steps, len(shop.per_h)
    capacity = model.rows(steps * chips, 0.0).reshape(steps, chips)
    ready = model.rows(steps, 0.0)
    batch = _batch_rows(model, shop, scale)
    chat = model.rows(steps * BATCH_70B, upper=(shop.chat * scale).ravel())
    chat = chat.reshape(steps, BATCH_70B)
    served, columns = [], np.full((steps, chips, len(CLASSES)), -1)
    for kind in range(len(CLASSES)):
        for chip in np.flatnonzero(shop.per_h[:, kind] > 0):
            per_h = shop.per_h[chip, kind]
            work = model.columns(steps, per_h * shop.price_usd[kind])
            columns[:, chip, kind] = work
            model.put(capacity[:, chip], work, -1.0)
            if kind == BATCH_70B:
                model.put(batch, work, per_h)
            else:
                model.put(chat[:, kind], work, per_h)
                model.put(ready, work, -1.0)
                served.append((kind, per_h, work))
    if shop.charge_h > 0:
        _peak_rows(model, shop, scale, served)
    return Shared(capacity, ready, columns)


def _batch_rows(model: Programme, shop: Market, scale: float) -> IntArray:
    """Rows that tie batch work started to the buckets it is taken from; returns them, (T,).

    Cumulated by bucket, what was started or dropped lies between what has arrived and what was due.
    """
    steps, arrived = shop.num_steps, np.cumsum(shop.batch, axis=0) * scale
    started = model.rows(steps, 0.0, 0.0)
    for bucket, delay in enumerate(shop.due_steps):
        due = np.zeros(steps)
        due[delay:] = arrived[: max(steps - delay, 0), bucket]
        taken, dropped = model.columns(steps), model.columns(steps)
        total = model.columns(steps, upper=arrived[:, bucket])
        row = model.rows(steps, 0.0, 0.0)
        model.put(row, total, 1.0)
        model.put(row[1:], total[:-1], -1.0)
        model.put(row, taken, -1.0)
        model.put(row, dropped, -1.0)
        floor = model.rows(steps, due)
        model.put(floor, total, 1.0)
        model.put(started, taken, -1.0)
    return started


def _peak_rows(
    model: Programme, shop: Market, scale: float, served: list[tuple[int, float, IntArray]]
) -> None:
    """Pay for the peak that the data centre has to be built for: of the mean of the last hour."""
    steps, window = shop.num_steps, max(1, round(1.0 / shop.dt_h))
    load = shop.chat_all @ shop.chat_usd * (scale / shop.dt_h)
    peak = model.columns(1, -shop.charge_h)
    # a constant: what the peak would be without cars
    model.columns(1, shop.charge_h * scale * peak_without_cars(shop), 1.0)
    first = np.maximum(np.arange(steps) - window + 1, 0)
    length = np.arange(steps) - first + 1
    total = np.concatenate([[0.0], np.cumsum(load)])
    row = model.rows(steps, (total[1:] - total[first]) / length)
    model.put(row, np.broadcast_to(peak, steps), 1.0)
    for kind, per_h, work in served:
        usd_per_h = per_h * shop.chat_usd[kind] / shop.dt_h
        for back in range(window):
            some = np.arange(back, steps)
            model.put(row[some], work[some - back], usd_per_h / length[some])
