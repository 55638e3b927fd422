"""What users get wrong: each mistake raises, names key and expectation, and changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fleet_env
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.env import FleetEnv
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import assert_same

BAD_ACTIONS: dict[str, tuple[Any, str]] = {
    "shape": (np.zeros((2, 4)), r"expected shape \(2, 5\) \(num_envs, num_cars\), got \(2, 4\)"),
    "flat": (np.zeros(10), r"expected shape \(2, 5\) .* got \(10,\)"),
    "two": (np.full((2, 5), 2), r"actions\[0, 0\] = 2: expected 0 \(off\) or 1 \(on duty\)"),
    "minus": (np.full((2, 5), -1, np.int8), r"actions\[0, 0\] = -1: expected 0"),
    "half": (np.array([[0, 0, 0, 0, 0], [0, 0.5, 0, 0, 0]]), r"actions\[1, 1\] = 0.5"),
    "nan": (np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, np.nan]]), r"actions\[1, 4\] = nan"),
    "inf": (np.array([[0, 0, np.inf, 0, 0], [0] * 5]), r"actions\[0, 2\] = inf"),
    "text": (np.full((2, 5), "on"), "expected zeros and ones, got dtype <U2"),
    "none": (None, r"got \(\)"),
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_bad_action_is_named_and_the_state_is_left_alone(name: str) -> None:
    env, same = (FleetVectorEnv(num_envs=2, num_cars=5) for _ in range(2))
    action, message = BAD_ACTIONS[name]
    for one in (env, same):
        one.reset(seed=0)
        one.step(np.ones((2, 5)))
    with pytest.raises(ValueError, match=message):
        env.step(action)
    for _ in range(3):
        got, want = env.step(np.ones((2, 5))), same.step(np.ones((2, 5)))
        assert_same(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


def test_bad_action_of_the_single_env_is_named() -> None:
    env = FleetEnv(num_cars=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected shape \(1, 3\).*got \(1, 4\)"):
        env.step(np.zeros(4))
    with pytest.raises(ValueError, match=r"= 7: expected 0 \(off\) or 1"):
        env.step([0, 7, 0])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint8, np.float32, np.float64, list])
def test_zeros_and_ones_of_any_number_type_are_accepted(dtype: Any) -> None:
    bits = np.array([[1, 0, 1, 1, 0]])
    action = bits.tolist() if dtype is list else bits.astype(dtype)
    env, want = (FleetVectorEnv(num_envs=1, num_cars=5) for _ in range(2))
    env.reset(seed=1)
    want.reset(seed=1)
    for _ in range(4):
        assert_same(env.step(action)[0], want.step(bits)[0])


BAD_OPTIONS: dict[str, tuple[Any, str]] = {
    "key": ({"seeds": [1, 2]}, r"reset options \['seeds'\]: expected only 'scenario_seeds'"),
    "length": ({"scenario_seeds": [1]}, "expected 2 integers >= 0 and < 1000 .*, one per row"),
    "negative": ({"scenario_seeds": [1, -1]}, "expected 2 integers >= 0"),
    "float": ({"scenario_seeds": [1.0, 2.5]}, "expected 2 integers >= 0"),
    "scalar": ({"scenario_seeds": 3}, "expected 2 integers >= 0"),
    "beyond": ({"scenario_seeds": [0, 1000]}, "scenario_seeds.*1000"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_reset_option_is_named(name: str) -> None:
    env = FleetVectorEnv(num_envs=2, num_cars=3, split="test")
    options, message = BAD_OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "card": ({"scenario": "subrub"}, r"scenario 'subrub'.*did you mean 'suburb'\?"),
    "split": ({"split": "tset"}, r"split='tset'.*did you mean 'test'\?"),
    "key": ({"num_car": 3}, r"unknown setting 'num_car' \(did you mean 'num_cars'\?\)"),
    "nested": ({"demand": {"laod": 1}}, r"'demand.laod' \(did you mean 'load'\?\)"),
    "value": ({"demand": {"load": -1}}, r"demand\.load=-1: expected a number in \[0, 100\]"),
    "cars": ({"num_cars": 0}, r"num_cars=0: expected a number in .1, 200,000,000"),
    "step": ({"step_min": 7}, r"step_min=7: expected 5, 10, 15, 30 or 60 minutes"),
    "observation": ({"observation": "car"}, r"observation='car': expected cars or fleet"),
    "shares": ({"fleet": {"accelerators": {"ai5": 0.5}}}, r"sum to 1 \(they sum to 0\.5\)"),
    "source": ({"energy": {"source": "battery"}}, r"energy\.source='battery': expected grid, pack"),
    "envs": ({"num_envs": 0}, "num_envs=0: expected at least 1"),
    "render": ({"render_mode": "human"}, r"render_mode='human': expected one of \['rgb_array'\]"),
    "accelerator": ({"fleet": {"accelerators": {"ai6": 1.0}}}, r"ai6.*ai5"),
    "section": ({"demand": 3}, r"demand=3: expected"),
    "type": ({"num_cars": "many"}, r"num_cars='many': expected a whole number"),
    "text": ({"demand": {"load": "0.5"}}, r"demand\.load='0\.5': expected a number"),
    "flag": ({"demand": {"load": True}}, r"demand\.load=True: expected a number"),
    "nan": ({"demand": {"load": float("nan")}}, r"demand\.load=nan: expected"),
    "zone": ({"time_zone": "America/Los_Angles"}, r"time_zone='America/Los_Angles'"),
    "tariff": ({"energy": {"tariff": "flt"}}, r"tariff='flt'"),
    "region": ({"energy": {"region": "US-CAL-CSIO"}}, r"region='US-CAL-CSIO'"),
    "regions": ({"regions": {"a": {"zone": "UTC"}}}, r"unknown setting 'regions.a.zone'"),
    "region zone": ({"regions": {"a": {"time_zone": "Mars"}}}, r"time_zone='Mars'"),
    "region share": ({"regions": {"a": {"share": 0}}}, r"regions\.a\.share=0: expected a number"),
    "age": ({"telemetry": {"age_s": 901}}, r"telemetry\.age_s=901.*at most a step \(900 s\)"),
    "faults": (
        {"telemetry": {"silent_share": 0.7, "stuck_share": 0.7}},
        r"telemetry\.silent_share \+ stuck_share=1\.4: expected at most 1",
    ),
    "hours": ({"owners": {"quiet_from_h": 25}}, r"owners\.quiet_from_h=25: expected a number in"),
    "opt in": ({"owners": {"opt_in": "pay"}}, r"owners\.opt_in='pay': expected all or by_pay"),
    "spike": (
        {"shocks": {"price_spike": {"on_day": 0}}},
        r"energy\.tariff='california_ev_tou': expected day_ahead in some region",
    ),
    "shock": ({"shocks": {"storms": {}}}, r"unknown setting 'shocks.storms'.*'storm'"),
    "holiday": ({"shocks": {"holidays": ["13-01"]}}, r"shocks\.holidays='13-01': expected a date"),
    "homeless": (
        {"fleet": {"accelerators": {"ai4": 1.0}}},
        r"no car holds the model of chat_70b, batch_70b: 70b .* in ai4 \(11 GB\)",
    ),
    "flash": ({"serving": {"flash_gb": 20.0}}, r"serving\.flash_gb=20: ai5 keeps 8b .* and 70b"),
    "loss": ({"serving": {"batch_loss": "lose"}}, r"serving\.batch_loss='lose': expected restart"),
    "dc cost": ({"datacentre": {"dc_cost": "peaks"}}, r"dc_cost='peaks': expected average or peak"),
    "randomise": ({"randomise": {"laod": [0, 1]}}, r"randomise='laod'.*did you mean 'load'\?"),
    "random range": ({"randomise": {"load": [2, 1]}}, r"randomise\.load=\[2, 1\]: expected \[low"),
    "random value": ({"randomise": {"load": [-1, 1]}}, r"demand\.load=-1\.0: expected a number"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_setting_is_named(name: str) -> None:
    settings, message = BAD_SETTINGS[name]
    with pytest.raises(ValueError, match=message):
        FleetVectorEnv(**settings).reset(seed=0)


def test_config_and_overrides_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"config and overrides \['num_cars'\] exclude each other"):
        FleetVectorEnv(config=EnvConfig(), num_cars=3)


def test_what_was_set_is_what_is_played() -> None:
    config = EnvConfig(num_cars=4, fleet=FleetConfig(accelerators={"claim": 1.0}))
    assert FleetVectorEnv(config=config).config is config
    by_keyword = FleetVectorEnv(num_cars=4, fleet={"accelerators": {"claim": 1.0}})
    assert by_keyword.config == config
    assert fleet_env.scenario("suburb", num_cars=4).num_cars == 4
