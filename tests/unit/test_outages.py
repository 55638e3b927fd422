"""What is out in which step: by hand, and against a loop over neighbourhoods and events."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.config_world import FeederConfig, RegionConfig
from fleet_env.generators.outages import Outages
from fleet_env.generators.shocks import FLASH, ISP, OTA, RELEASE, STORM, ShockEvents
from fleet_env.types import BoolArray, FloatArray

INF = float("inf")


def _events(
    *events: tuple[int, float, float],
    area: list[int] | None = None,
    node: list[int] | None = None,
    extent: float = 1.0,
) -> ShockEvents:
    """Events by kind, start and end, on day 0 of scenario 0."""
    num = len(events)
    return ShockEvents(
        kind=np.array([kind for kind, _, _ in events], np.int64),
        area=np.array(area or [0] * num, np.int64),
        node=np.array(node or [-1] * num, np.int64),
        day=np.zeros(num, np.int64),
        start_h=np.array([start for _, start, _ in events], np.float64),
        end_h=np.array([end for _, _, end in events], np.float64),
        severity=np.ones(num),
        extent=np.full(num, extent),
        key=draws.scenario_key("train", np.arange(num)),
    )


def _config(num: int = 3, **changes: object) -> EnvConfig:
    """Fleet of `num` neighbourhoods of 2 homes, but for the last one."""
    return EnvConfig(num_cars=2 * num - 1, feeder=FeederConfig(homes=2), **changes)  # type: ignore[arg-type]


def _outages(*events: tuple[int, float, float], num: int = 3) -> Outages:
    return Outages(_config(num), _events(*events), num_envs=1)


def _list(array: BoolArray | FloatArray | None) -> list[float] | None:
    return None if array is None else array.tolist()


def test_a_storm_takes_the_link_at_once_and_the_power_from_the_next_step_on() -> None:
    outages = _outages((STORM, 1.1, 2.3))
    assert [step for step in range(20) if outages.at(step) is not None] == [4, 5, 6, 7, 8, 9]
    start = outages.at(4)  # [1, 1.25) h
    assert start is not None
    assert _list(start.home_fails_h) == [pytest.approx(1.1)] * 3
    assert start.home_fails_h is not None
    assert start.home_fails_h.dtype == np.float32
    assert (start.home_down, start.down, start.fails_h, start.dark) == (None,) * 4
    for step in range(5, 10):  # the last one begins at 2.25 h: link and power are back at 2.5 h
        now = outages.at(step)
        assert now is not None
        assert _list(now.home_down) == _list(now.dark) == [True] * 3
        assert (now.down, now.fails_h, now.home_fails_h) == (None, None, None)
    assert [step for step in range(20) if outages.dark_changes(step)] == [5, 10]


def test_events_that_start_and_end_with_a_step() -> None:
    outages = _outages((STORM, 1.25, 2.5))
    assert [step for step in range(20) if outages.at(step) is not None] == [5, 6, 7, 8, 9]
    now = outages.at(5)
    assert now is not None
    assert now.home_fails_h is None
    assert _list(now.dark) == [True] * 3
    assert [step for step in range(20) if outages.dark_changes(step)] == [5, 10]


def test_a_moment_without_link_ends_duty_and_leaves_the_power() -> None:
    outages = _outages((STORM, 1.3, 1.4))
    assert [step for step in range(20) if outages.at(step) is not None] == [5]
    now = outages.at(5)
    assert now is not None
    assert _list(now.home_fails_h) == [pytest.approx(1.3)] * 3
    assert (now.home_down, now.dark) == (None, None)
    assert not any(outages.dark_changes(step) for step in range(20))


def test_a_storm_may_be_on_when_the_episode_starts() -> None:
    outages = _outages((STORM, -3.0, 0.6))
    assert [step for step in range(20) if outages.at(step) is not None] == [0, 1, 2]
    assert [step for step in range(20) if outages.dark_changes(step)] == [0, 3]
    assert _outages((STORM, -3.0, 0.0)).at(0) is None
    assert not _outages((STORM, -3.0, 0.0)).dark_changes(0)


def test_each_kind_takes_its_own() -> None:
    isp, ota = _outages((ISP, 1.1, 2.0)), _outages((OTA, 1.1, 2.0))
    for outages, names in ((isp, ("home_down", "home_fails_h")), (ota, ("down", "fails_h"))):
        start, later = outages.at(4), outages.at(5)
        assert start is not None
        assert later is not None
        assert _list(getattr(later, names[0])) == [True] * 3
        assert _list(getattr(start, names[1])) == [pytest.approx(1.1)] * 3
        used = {n for o in (start, later) for n in o.__slots__ if getattr(o, n) is not None}
        assert used == set(names)
        assert not any(outages.dark_changes(step) for step in range(20))
    assert _outages((FLASH, 1.1, 2.0)).at(5) is None
    assert Outages(_config(), _events(), num_envs=2).at(5) is None


def test_overlapping_events_are_one() -> None:
    outages = _outages((ISP, 1.0, 2.0), (STORM, 1.55, 3.1), (ISP, 3.0, 3.3))
    down = [step for step in range(20) if (now := outages.at(step)) and now.home_down is not None]
    assert down == list(range(4, 14))
    for step in (6, 12):  # the storm begins, the second ISP outage begins: the link is down already
        now = outages.at(step)
        assert now is not None
        assert _list(now.home_fails_h) in (None, [INF] * 3)
    dark = [step for step in range(20) if (now := outages.at(step)) and now.dark is not None]
    assert dark == list(range(7, 13))


def test_the_first_of_two_failures_counts() -> None:
    now = _outages((ISP, 1.2, 2.0), (STORM, 1.1, 2.0)).at(4)
    assert now is not None
    assert _list(now.home_fails_h) == [pytest.approx(1.1)] * 3


def test_nodes_have_100_neighbourhoods_but_for_the_last() -> None:
    events = _events((ISP, 1.0, 2.0), (ISP, 1.0, 2.0), area=[0, 1], node=[1, 2])
    now = Outages(_config(230), events, num_envs=2).at(4)
    assert now is not None
    assert now.home_down is not None
    assert np.flatnonzero(now.home_down).tolist() == [*range(100, 200), *range(430, 460)]


def test_events_stay_in_their_region() -> None:
    regions = {"west": RegionConfig(share=3.0), "east": RegionConfig(share=2.0)}
    config = _config(250, regions=regions)  # neighbourhoods 0 .. 149 and 150 .. 249
    events = _events(
        (STORM, 1.0, 2.0), (ISP, 1.0, 2.0), (ISP, 1.0, 2.0), (OTA, 1.0, 2.0),
        area=[3, 0, 1, 2], node=[-1, 1, 1, -1],
    )  # fmt: skip
    now = Outages(config, events, num_envs=2).at(4)
    assert now is not None
    assert now.dark is not None
    assert now.home_down is not None
    assert now.down is not None
    assert np.flatnonzero(now.dark).tolist() == list(range(400, 500))
    both_halves_of_the_node = list(range(100, 200))
    assert np.flatnonzero(now.home_down).tolist() == both_halves_of_the_node + list(range(400, 500))
    assert np.flatnonzero(now.down).tolist() == list(range(250, 400))


def test_the_extent_says_how_many_are_hit() -> None:
    events = _events((STORM, 1.1, 2.0), extent=0.35)
    outages = Outages(_config(2000), events, num_envs=1)
    start, later = outages.at(4), outages.at(5)
    hit = events.hit(0, np.arange(2000))
    assert start is not None
    assert later is not None
    assert start.home_fails_h is not None
    assert np.array_equal(start.home_fails_h < INF, hit)
    assert np.array_equal(later.home_down, hit)
    assert np.array_equal(later.dark, hit)
    assert 0.31 < hit.mean() < 0.39


def test_an_event_that_hits_nobody_is_none() -> None:
    missed = _events((STORM, 1.1, 2.0), (ISP, 1.1, 2.0), extent=0.0)
    outages = Outages(_config(), missed, num_envs=1)
    assert all(outages.at(step) is None for step in range(20))
    assert not any(outages.dark_changes(step) for step in range(20))


def test_steps_of_5_minutes_are_exact() -> None:
    outages = Outages(_config(step_min=5), _events((STORM, 35 / 60, 55 / 60)), num_envs=1)
    assert [step for step in range(30) if outages.dark_changes(step)] == [7, 11]
    assert [step for step in range(30) if outages.at(step) is not None] == [7, 8, 9, 10]


def test_releases_come_with_the_next_step() -> None:
    starts = {-0.3: None, -0.1: 0, 0.0: 0, 1.1: 5, 1.25: 5, 1.26: 6}
    for start_h, expected in starts.items():
        outages = _outages((RELEASE, start_h, start_h + 0.25))
        steps = [step for step in range(20) if outages.releases(step).size]
        assert steps == ([] if expected is None else [expected])
        assert all(outages.at(step) is None for step in range(20))


def test_an_area_gets_a_release_once() -> None:
    release = (RELEASE, 1.1, 1.3)
    events = _events(release, (RELEASE, 1.2, 1.3), release, area=[4, 4, 1])
    assert Outages(_config(), events, num_envs=5).releases(5).tolist() == [1, 4]


def test_any_events_are_the_loop_over_neighbourhoods(rng: np.random.Generator) -> None:
    config, num_envs, num = _config(130), 3, 130
    for _ in range(6):
        size = int(rng.integers(1, 25))
        start_h = rng.choice([rng.uniform(-3, 24, size), rng.integers(-4, 90, size) / 4.0])
        kinds = rng.choice([STORM, ISP, OTA], size)
        spans = zip(kinds.tolist(), start_h, start_h + rng.uniform(0.01, 6, size), strict=True)
        events = _events(
            *spans,
            area=rng.integers(0, num_envs, size).tolist(),
            node=np.where(kinds == ISP, rng.integers(0, 2, size), -1).tolist(),
            extent=0.5,
        )
        outages = Outages(config, events, num_envs)
        hits = [events.hit(i, np.arange(num)) for i in range(size)]
        dark_before = np.zeros(num_envs * num, np.bool_)
        for step in range(config.num_steps + 1):
            now, expected = outages.at(step), _loop(events, hits, step, num_envs)
            if now is None:
                assert not any((expected[name] != _nothing(name)).any() for name in expected)
            else:
                for name, values in expected.items():
                    given = getattr(now, name)
                    assert (values == (_nothing(name) if given is None else given)).all()
            assert outages.dark_changes(step) or np.array_equal(expected["dark"], dark_before)
            dark_before = expected["dark"].astype(np.bool_)


def _nothing(name: str) -> float:
    return INF if "fails" in name else 0.0


def _loop(
    events: ShockEvents, hits: list[BoolArray], step: int, num_envs: int
) -> dict[str, FloatArray | BoolArray]:
    """State of every neighbourhood in a step, from every event that hits it."""
    t_h, end_h, num = step / 4, (step + 1) / 4, len(hits[0])
    out = {
        name: np.full(num_envs * num, _nothing(name), np.float32)
        for name in ("home_down", "down", "home_fails_h", "fails_h", "dark")
    }
    for i in range(len(events)):
        where = "" if events.kind[i] == OTA else "home_"
        first = int(events.area[i]) * num
        places = first + np.flatnonzero(hits[i])
        if events.start_h[i] <= t_h < events.end_h[i]:
            out[f"{where}down"][places] = 1
            if events.kind[i] == STORM:
                out["dark"][places] = 1
        elif t_h < events.start_h[i] < end_h:
            soonest = np.minimum(out[f"{where}fails_h"][places], np.float32(events.start_h[i]))
            out[f"{where}fails_h"][places] = soonest
    for where in ("", "home_"):
        out[f"{where}fails_h"][out[f"{where}down"] == 1] = INF
    return out
