"""What the dispatcher has been told about the cars, and how late (docs/model.md 5.4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.types import (
    DRIVING,
    EVSE_NONE,
    FAULT_NONE,
    FAULT_SILENT,
    FAULT_STUCK,
    BoolArray,
    FloatArray,
    IntArray,
)
from fleet_env.units import S_PER_H
from fleet_env.world import ALLOWED, AWAY, Gates, World

# What a report brings, as `FleetState` and `Derived` name it, and what a car on the road shows of
# it. Duty, gap and readiness are the dispatcher's own books: they are never late.
STATE_ON_ROAD = {
    "place": DRIVING,
    "plugged": False,
    "parked_h": np.inf,
    "stated_h": -np.inf,
    "snooze_h": np.inf,
    "fault": FAULT_NONE,
}
DERIVED_ON_ROAD = {
    "home_link": False,
    "evse": EVSE_NONE,
    "reason": AWAY,
    "twin_rate": 0.0,
}
STATE_SHOWN = (*STATE_ON_ROAD, "twin_ref", "ref_h")
DERIVED_SHOWN = (*DERIVED_ON_ROAD, "twin_cap", "air")


class Telemetry:
    """The reports of a batch of fleets.

    Attributes
    ----------
    told : World
        The world as reported: what reports bring is a copy of its own, all else is shared with the
        truth. Perfect telemetry (age 0, no faults) tells the truth itself, the same object.
    perfect : bool
    """

    told: World

    def __init__(self, config: EnvConfig) -> None:
        setting, shocks = config.telemetry, config.shocks
        self._age_h = setting.age_s / S_PER_H
        self.perfect = setting.age_s == setting.silent_share == setting.stuck_share == 0.0
        self.perfect &= shocks.storm.off and shocks.isp.off and shocks.ota.off

    def begin(self, world: World) -> None:
        """Start an episode: all that was reported by then is known.

        A car whose arrival is not yet reported was on the road before; where a car stood that left
        within the age of reports is not kept: it shows as on the road too early.
        """
        self._world = self.told = world
        if self.perfect:
            return
        state = {name: getattr(world.state, name).copy() for name in STATE_SHOWN}
        derived = {name: getattr(world.derived, name).copy() for name in DERIVED_SHOWN}
        self.told = replace(
            world, state=replace(world.state, **state), derived=replace(world.derived, **derived)
        )
        truth, seen_h = world.state, self._as_of(0.0)
        self._seen_h = np.full(truth.place.shape, seen_h)
        self._flags = np.zeros(truth.place.shape, np.bool_)
        self._known = np.zeros(truth.place.shape, np.bool_)
        self._late: IntArray = np.flatnonzero(truth.ref_h > seen_h)
        self._silenced = truth.fault != FAULT_NONE
        self._silenced &= (truth.fault == FAULT_SILENT) | (truth.place == DRIVING)
        unheard = self._silenced.copy()
        unheard[self._late] = True
        unheard &= truth.place != DRIVING
        self._show_on_road(np.flatnonzero(unheard))
        np.minimum(self._seen_h, truth.parked_h, out=self._seen_h, where=unheard)

    def events(
        self,
        cars: IntArray,
        t_h: float,
        cut: BoolArray | None = None,
        noticed: IntArray | None = None,
    ) -> IntArray:
        """Pass on what happened to cars in the step that ended at `t_h`.

        A car whose last event is younger than the age of reports shows what it showed before; so
        does one whose event is never reported, and one whose link is down. Call it once after every
        step.

        Parameters
        ----------
        cars : IntArray, shape (n,)
            Cars that departed, arrived, or lost or got back the power at home; `ref_h` of their
            state is the time of the last such event.
        cut : BoolArray, shape (num_envs * num_cars,), optional
            Cars whose link is down now: nothing is heard of them.
        noticed : IntArray, shape (m,), optional
            Cars that stopped while on duty: their requests fail, so it is known at once.

        Returns
        -------
        IntArray
            Cars that show something else than before.
        """
        if self.perfect:
            return cars
        truth, seen_h = self._world.state, self._as_of(t_h)
        noticed = cars[:0] if noticed is None else noticed
        self._flags[self._late] = self._flags[cars] = self._flags[noticed] = True
        cars = self._flags.nonzero()[0]
        self._flags[cars] = False
        late = truth.ref_h[cars] > seen_h
        if cut is not None:
            late |= cut[cars]
        self._known[noticed] = True
        known = self._known[cars]
        self._known[noticed] = False
        late &= ~known
        self._late, cars, known = cars[late], cars[~late], known[~late]
        fault, driving = truth.fault[cars], truth.place[cars] == DRIVING
        unheard = np.where(driving, (fault != FAULT_NONE) & ~known, fault == FAULT_SILENT)
        heard, lost = cars[~unheard], cars[unheard]
        self._report(heard)
        left = lost[known[unheard] | self._departure_was_reported(lost)]
        self._show_on_road(left)
        self._silenced[heard], self._silenced[lost] = False, True
        waiting = self._silenced.copy()
        waiting[self._late] = True
        if cut is not None:
            waiting |= cut
        np.copyto(self._seen_h, seen_h, where=~waiting)
        self._seen_h[noticed] = t_h
        # nothing has been heard since the arrival
        self._seen_h[left] = np.minimum(truth.parked_h[left], seen_h)
        return np.concatenate([heard, left])

    def refuse(self, cars: IntArray, reason: IntArray) -> None:
        """Close the gate of cars that were put on duty and refused, until their next report.

        Parameters
        ----------
        cars : IntArray, shape (n,)
            Those whose report allowed duty and whose true reason holds for the stay.
        reason : IntArray, shape (n,)
            Codes of the reasons.
        """
        if not self.perfect:
            self.told.derived.reason[cars] = reason

    def unreachable(self, cars: IntArray | slice) -> BoolArray:
        """Whether cars are in a stay whose arrival is never reported, shape (n,)."""
        state = self._world.state
        silent: BoolArray = state.fault[cars] == FAULT_SILENT
        silent &= state.place[cars] != DRIVING
        return silent

    def seen_h(self, t_h: float, cars: slice = slice(None)) -> FloatArray | float:
        """Time of which the reports at hand are [h], by car: now where telemetry is perfect."""
        return t_h if self.perfect else self._seen_h[cars]

    def charge(self, cars: slice, t_h: float, *, out: FloatArray) -> FloatArray:
        """State of charge that cars show; `out` is written and returned, shape (n,)."""
        soc = self.told.twin_soc(cars, self.seen_h(t_h, cars), out=out)
        soc -= self._world.state.gap[cars]
        if not self.perfect:  # an old twin less a fresh gap
            np.clip(soc, 0.0, 1.0, out=soc)
        return soc

    def _as_of(self, t_h: float) -> np.float32:
        """Latest time that a report at `t_h` may be of, rounded down to float32."""
        exact_h = t_h - self._age_h
        rounded = np.float32(exact_h)
        if float(rounded) > exact_h:
            rounded = np.nextafter(rounded, np.float32(-np.inf))
        return rounded

    def _report(self, cars: IntArray) -> None:
        for names, told, truth in (
            (STATE_SHOWN, self.told.state, self._world.state),
            (DERIVED_SHOWN, self.told.derived, self._world.derived),
        ):
            for name in names:
                getattr(told, name)[cars] = getattr(truth, name)[cars]

    def _show_on_road(self, cars: IntArray) -> None:
        for values, told in (
            (STATE_ON_ROAD, self.told.state),
            (DERIVED_ON_ROAD, self.told.derived),
        ):
            for name, value in values.items():
                getattr(told, name)[cars] = value
        truth = self._world.derived
        self.told.derived.air[cars] = truth.air[cars] - truth.garage[cars]

    def _departure_was_reported(self, cars: IntArray) -> BoolArray:
        """Whether cars in a silent stay show an older one that has been seen to end."""
        told = self.told.state
        reported: BoolArray = self._world.state.fault[cars] == FAULT_SILENT
        reported &= told.place[cars] != DRIVING
        reported &= told.fault[cars] != FAULT_STUCK
        return reported


def duty_mask(
    world: World,
    cars: slice | IntArray,
    soc: FloatArray,
    gates: Gates,
    seen_h: FloatArray | float,
    *,
    out: BoolArray,
) -> None:
    """Find the cars that may be on duty now, among some of them; `out` is written.

    Stay, link, plug and owner allow it, charge is above reserve, nobody called the car back. It is
    one rule for the truth and for what was told of it.

    Parameters
    ----------
    world : World
        The truth, or `Telemetry.told`.
    soc : FloatArray, shape (n,)
        State of charge of these cars, true or shown.
    gates : Gates
        What else keeps cars off duty now.
    seen_h : FloatArray, shape (n,), or float
        Time [h] of what is known: now for the truth, `Telemetry.seen_h` for what was told.
    """
    state, derived = world.state, world.derived
    mask = np.equal(derived.reason[cars], ALLOWED, out=out)
    mask &= soc > world.params.reserve_soc[cars]
    mask &= state.snooze_h[cars] > seen_h
    if gates.hot is not None:
        np.greater(mask, gates.hot.take(derived.air[cars]), out=mask)
    if gates.closed is not None:
        np.greater(mask, gates.closed.take(derived.hours[cars]), out=mask)
    if gates.cut is not None:
        np.greater(mask, gates.cut[cars], out=mask)
    if np.isfinite(gates.cap_h):
        mask &= state.duty_h[cars] < gates.cap_h
    if world.config.telemetry.silent_share > 0:  # nobody can be told to work who is not heard
        mask &= state.fault[cars] != FAULT_SILENT
