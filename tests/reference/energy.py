"""Where the energy of compute comes from: meter and pack of one car in one step (section 2.7)."""

from __future__ import annotations

from dataclasses import dataclass

GRID, PACK, FILL = "grid", "pack", "fill"


@dataclass(frozen=True)
class Wish:
    """What one car brings into a step; unplugged, the plug has no power."""

    dc_kw: float  # full power of the plug behind the charger
    ac_kw: float  # the same at the wall
    eta: float  # their ratio
    plug_h: float  # hours plugged
    awake_h: float  # hours awake
    need_kwh: float  # what the twin stores in these hours
    owed_kwh: float  # what the car is behind its twin
    compute_kwh: float  # what compute takes at the DC bus
    compute_wall_kwh: float  # the same at the wall, were the car to charge nothing


@dataclass(frozen=True)
class Flow:
    """What a step does to one car."""

    mode: str
    stored_kwh: float  # into the pack, negative when it is drawn
    metered_kwh: float  # at the wall
    twin_metered_kwh: float
    throughput_kwh: float  # through the pack


def grid(wish: Wish) -> Flow:
    """Compute first, from the outlet; the pack gets what is left of it, and the rest later."""
    wanted_kwh = max(0.0, wish.need_kwh + wish.owed_kwh)
    outlet_kwh = wish.dc_kw * wish.awake_h  # in the awake part of the step, which comes first
    spare_kwh = outlet_kwh - wish.compute_kwh  # negative: the pack supplements
    beside_kwh = min(wanted_kwh, spare_kwh)
    full_share = beside_kwh / spare_kwh if spare_kwh != 0.0 else 0.0
    alone_kwh = min(wish.compute_wall_kwh, wish.ac_kw * wish.awake_h)  # meter without charging
    awake_meter_kwh = alone_kwh + (wish.ac_kw * wish.awake_h - alone_kwh) * full_share
    room_kwh = max(wish.dc_kw * wish.plug_h, wish.need_kwh)
    later_kwh = min(wanted_kwh - beside_kwh, room_kwh - outlet_kwh)
    return Flow(
        GRID,
        stored_kwh=beside_kwh + later_kwh,
        metered_kwh=awake_meter_kwh + later_kwh / wish.eta,
        twin_metered_kwh=wish.need_kwh / wish.eta,
        throughput_kwh=abs(beside_kwh) + later_kwh,
    )


def burst_throughput_kwh(wish: Wish, delivered_kwh: float) -> float:
    """What passes the pack if `delivered_kwh` come from the start of the step on."""
    outlet_kwh = wish.dc_kw * wish.awake_h
    direct_kwh = 0.0
    if outlet_kwh > 0.0:  # never more than the outlet gives: a weak one leaves a rest to the pack
        direct_kwh = min(wish.compute_kwh, outlet_kwh) * min(1.0, delivered_kwh / outlet_kwh)
    return delivered_kwh + wish.compute_kwh - 2.0 * direct_kwh


def _burst(mode: str, wish: Wish, delivered_kwh: float) -> Flow:
    """`delivered_kwh` at full power from the start of the step, the computer fed past the pack."""
    return Flow(
        mode,
        stored_kwh=delivered_kwh - wish.compute_kwh,
        metered_kwh=delivered_kwh / wish.eta,
        twin_metered_kwh=wish.need_kwh / wish.eta,
        throughput_kwh=burst_throughput_kwh(wish, delivered_kwh),
    )


def pack(wish: Wish) -> Flow:
    """The meter draws what the twin's draws (less, if public charging left the car ahead)."""
    wanted_kwh = max(0.0, wish.need_kwh + wish.owed_kwh)
    return _burst(PACK, wish, min(wish.need_kwh, wanted_kwh))


def fill(wish: Wish) -> Flow:
    """A burst for compute, for the twin's charging and for what is owed."""
    room_kwh = max(wish.dc_kw * wish.plug_h, wish.need_kwh)
    wanted_kwh = max(0.0, wish.need_kwh + wish.owed_kwh)
    return _burst(FILL, wish, min(room_kwh, wanted_kwh + wish.compute_kwh))


@dataclass(frozen=True)
class Tariff:
    """What the energy manager of one row knows in one step."""

    usd_per_kwh: float
    threshold_usd_per_kwh: float  # dearest of the cheap hours ahead
    cheap: bool
    pack_wear_usd_per_kwh: float
    margin_h: float


def mode(
    source: str,
    wish: Wish,
    tariff: Tariff,
    *,
    refill_kwh: float,
    cheap_left_h: float,
    above_reserve: bool,
) -> str:
    """Choose between grid, pack and fill, the rule of the energy manager."""
    if source == "grid":
        return GRID
    if tariff.cheap:
        return FILL
    in_time = (cheap_left_h - tariff.margin_h) * wish.dc_kw >= refill_kwh
    worth = wish.compute_kwh == 0.0 or source == "pack" or _pack_is_cheaper(wish, tariff)
    return PACK if in_time and above_reserve and worth else FILL


def _pack_is_cheaper(wish: Wish, tariff: Tariff) -> bool:
    """Compare compute from the light-load charger now with a refill later and its wear."""
    later = tariff.threshold_usd_per_kwh / wish.eta + tariff.pack_wear_usd_per_kwh
    return tariff.usd_per_kwh * wish.compute_wall_kwh > later * wish.compute_kwh
