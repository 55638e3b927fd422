"""What is counted besides money: names, units and meaning of every metric in `info`."""

from __future__ import annotations

from fleet_env.types import CLASSES

REWARD_TERMS = ("avoided", "energy", "wear", "owner", "data", "slo", "capacity")

# per class of demand: requests
_REQUESTS = {
    "arrived": "requests that may run in cars",
    "on_time": "completed in a car within SLO or deadline",
    "late": "completed in a car, first token after the TTFT limit",
    "lost": "interactive requests that died with a departing car, redone by the data centre",
    "diverted": "interactive sent to the data centre at once: it would have waited too long",
    "expired": "batch sent to the data centre at its deadline, or still open at the horizon",
}
METRICS: dict[str, str] = {
    **{f"{kind}_{name}": doc for kind, doc in _REQUESTS.items() for name in CLASSES},
    "ttft_request_s": "chat requests started in cars times their mean time to first token",
    "requeued_batch_70b": "batch requests that fell back into the queue from cars that stopped",
    "on_duty_h": "car-hours on duty",
    "quiet_h": "car-hours on duty at home in quiet hours, where noise has a price",
    "serving_h": "car-hours serving (awake, loaded, present)",
    "busy_h": "car-hours of work done",
    "wall_kwh": "wall energy of compute as booked: metered difference + growth of the charge gap",
    "metered_kwh": "metered difference, with minus without compute",
    "pack_kwh": "DC energy that compute drew from packs instead of plugs",
    "carbon_kg": "grid carbon of the metered difference; gap growth at the first day's mean",
    "signed_wear_usd": "money of extra fade without the floor at 0 (< 0: compute spared packs)",
    "extra_fade": "sum of extra relative capacity loss over cars",
    "shortfalls": "departures with less charge than the owner wanted and the twin had",
    "shortfall_kwh": "charge missing at those departures beyond the deadband",
    "broken_promises": "shortfalls at or after the stated departure",
    "dropouts": "owners who left for good after a broken promise",
    "public_kwh": "public fast charging, with minus without compute",
    "departures": "departures of cars that were on duty in that step",
    "started": "cold starts (wake and load)",
    "downloaded_gb": "weights fetched over home links",
    "cellular_gb": "request data over cellular links",
    "feeder_cut_kwh": "metered energy of compute that transformers had no room for",
    "feeder_over_h": "transformer-hours above the cap without compute",
}
# in the order in which the first one that applies counts
REFUSALS = (
    "away",
    "unplugged",
    "no_link",
    "opted_out",
    "memory",
    "silent",
    "capped",
    "quiet",
    "snoozed",
    "reserve",
    "hot",
)
METRICS.update(
    {f"refused_{reason}": f"duty bits refused: {reason.replace('_', ' ')}" for reason in REFUSALS}
)

COSTS = {
    "shortfall": "shortfalls at departure (count)",
    "slo": "interactive requests lost or late (requests)",
    "feeder": "energy of compute that transformers had no room for (kWh)",
}
EPISODE_FIELDS = (
    "return",
    "length",
    *(f"reward/{t}" for t in REWARD_TERMS),
    *(f"metric/{m}" for m in METRICS),
)
