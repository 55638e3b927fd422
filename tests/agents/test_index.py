"""The tuned index: its file, the choice of cars, and the search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.index import parameters, search
from agents.index.parameters import PARAMETERS, PLACE, RULE, WEIGHTS, Space, TunedFile
from agents.index.policy import TunedIndex, cars_wanted, choose
from agents.index.scores import earned, same_for_all, train_days
from agents.index.search import History, SearchSettings, finalists
from fleet_env.observations import CAR
from fleet_env.scenarios import scenario
from fleet_env.views.index import index_duty, index_score

seeds = st.integers(0, 100_000)
START = parameters.start_vector()


def vector(**changes: float) -> np.ndarray:
    values = START.copy()
    for name, value in changes.items():
        values[PLACE[name]] = value
    return values


def drawn(seed: int, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = Space.without(()).limits()
    x = np.clip(rng.normal(0, 1.0, (rows, len(low))), low, high)
    values = Space.without(()).parameters(x)
    values[:, PLACE["min_score"]] = rng.uniform(-1.5, 0.0, rows)  # neither all nor no cars
    return values


# the file


def test_a_file_comes_back_as_it_was_written(tmp_path):
    tuned = TunedFile.of_vector(drawn(1, 1)[0], {"card": "suburb", "seed": 3})
    file = tmp_path / "index.yaml"
    file.write_text(tuned.text(), "utf-8")
    assert parameters.read(str(file)) == tuned
    np.testing.assert_array_equal(parameters.read(str(file)).vector(), drawn(1, 1)[0])
    assert file.read_text("utf-8").startswith("# A tuned index")
    assert list(tuned.weights) == [p.name for p in WEIGHTS]


def content(**changes: Any) -> str:
    rule = {p.name: p.start for p in RULE} | changes.pop("rule", {})
    rule = {name: value for name, value in rule.items() if value is not None}
    parts = {"weights": {"energy": -0.5}, "rule": rule} | changes
    return "\n".join(f"{part}: {value!r}" for part, value in parts.items() if value is not None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (content(weights={"enregy": -0.5}), r"weights: no 'enregy': did you mean 'energy'\?"),
        (content(weights={"band": 0.5}), r"weights: no 'band'"),
        (content(rule={"over_provison": 1.0}), r"no 'over_provison': did you mean 'over_prov"),
        (content(rule={"band": None}), r"rule: missing band"),
        (content(weights={"energy": -1.5}), r"energy: -1.5: expected a number in \[-1, 1\]"),
        (content(weights={"energy": "low"}), r"energy: 'low': expected a number"),
        (content(rule={"last_weight": 2}), r"last_weight: 2: expected a number in \[0, 1\]"),
        (content(rule={"band": True}), r"band: True: expected a number"),
        (content(weights=None), r"expected weights and rule"),
        (content(colour={}), r"expected the parts weights, rule and found"),
        ("[1, 2]", r"expected the parts"),
        ("weights: {", r"tuned index .*index\.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_reason(tmp_path, text, message):
    file = tmp_path / "index.yaml"
    file.write_text(text.replace("True", "true"), "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        TunedIndex(file=str(file))
    assert "index.yaml" in str(caught.value)


def test_a_weight_left_out_is_zero(tmp_path):
    file = tmp_path / "index.yaml"
    file.write_text(content(), "utf-8")
    values = parameters.read(str(file)).vector()
    assert values[PLACE["energy"]] == -0.5
    assert values[PLACE["on_duty"]] == 0.0


def test_an_unknown_name_lists_what_is_shipped():
    with pytest.raises(FileNotFoundError, match=r"'suburbia'.*ends in \.yaml or one of.*suburb"):
        TunedIndex(file="suburbia")


def test_the_shipped_file_says_how_it_was_found():
    tuned = parameters.read("suburb")
    assert TunedIndex().file == "suburb"
    np.testing.assert_array_equal(TunedIndex().parameters, tuned.vector())
    assert tuned.found["card"] == "suburb"
    assert tuned.found["validation"]["usd"] > max(tuned.found["validation_of_rules_usd"].values())
    for name in tuned.found["same_for_all_cars"]:
        assert tuned.weights[name] == START[PLACE[name]]
    assert tuned.found["command"].startswith("fleet tune agent=index env=suburb")


# coordinates


def test_coordinates_count_steps_from_the_start_and_fixed_weights_stay():
    space = Space.without(["plugged", "stay"])
    low, high = space.limits()
    assert len(low) == len(PARAMETERS) - 2
    np.testing.assert_array_equal(space.parameters(np.zeros((1, len(low))))[0], START)
    moved = space.parameters(np.full((1, len(low)), 0.5))[0]
    assert moved[PLACE["plugged"]] == START[PLACE["plugged"]]
    assert moved[PLACE["over_provision"]] == pytest.approx(1.10 + 0.5 * 0.1)
    ends = space.parameters(np.stack([low, high]))
    for parameter in PARAMETERS:
        if parameter.name not in ("plugged", "stay"):
            place = PLACE[parameter.name]
            assert ends[:, place] == pytest.approx([parameter.low, parameter.high], abs=1e-4)


# the choice


def wanted(obs: Any, **changes: float) -> int:
    rows = vector(**changes)[None]
    [number] = cars_wanted(obs, lambda name: rows[:, PLACE[name]]).total.tolist()
    return int(number)


WORK = {
    "chat_00h": 0.20, "chat_01h": 0.30, "chat_8b_last": 0.05, "chat_70b_last": 0.05,
    "batch_due_1h": 0.02, "batch_due_4h": 0.04, "batch_due_12h": 0.06,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "cars"),
    [
        # half of 0.20 forecast and 0.10 seen, and 4 x the 0.02 due in the one hour that is cheap
        ({}, 1000 * 1.1 * (0.15 + 0.08)),
        ({"over_provision": 2.0}, 1000 * 2.0 * (0.15 + 0.08)),
        ({"last_weight": 0.0}, 1000 * 1.1 * (0.20 + 0.08)),
        ({"last_weight": 0.0, "look_ahead": 0.5}, 1000 * 1.1 * (0.25 + 0.08)),
        ({"batch_haste": 1.0}, 1000 * 1.1 * (0.15 + 0.02)),
        ({"batch_haste": 0.0}, 1000 * 1.1 * 0.15),
        ({"batch_haste": 0.0, "batch_urgency": 1.5}, 1000 * 1.1 * (0.15 + 0.03)),
        ({"price_sensitivity": 2.0}, 1000 * 1.1 * (0.15 + 0.08)),  # the price is that of a refill
    ],
)
def test_cars_wanted_by_hand(make_obs, changes, cars):
    obs = make_obs(fleet=WORK, shape=(1, 1000))
    assert wanted(obs, **changes) == round(cars)


def test_dear_hours_want_fewer_cars(make_obs):
    prices = {"price": 0.60, "cheap": 0, "price_00h": 0.60}
    obs = make_obs(fleet=WORK | prices, shape=(1, 1000))
    # what is due in 1 h has no cheap hour left and cannot wait: 4 x 0.02; the rest can
    assert wanted(obs) == round(1100 * (0.15 + 0.08))
    assert wanted(obs, price_sensitivity=2.0) == round(1100 * (0.15 + 0.08) * np.exp(-2 * 0.3))


def test_the_first_step_has_only_the_forecast(make_obs):
    obs = make_obs(fleet=WORK | {"left": 1.0}, shape=(1, 1000))
    assert wanted(obs) == round(1100 * (0.20 + 0.08))


def test_a_car_below_the_least_score_stays_off(make_obs):
    # an hour costs 0.378 kW x (0.30 / 0.92 + 0.02) USD: 1.307 features at -0.3 make -0.392; the
    # start of 1.5 min over 4 h at -0.84 makes -0.005, memory for 70B 0.6; 0.5 kWh are owed at risk
    cars = {"soc": [[0.9, 0.5, 0.9]], "gap_kwh": [[0, 0.5, 0]], "stay_h": [[10, 4, 10]]}
    obs = make_obs(cars=cars, fleet=WORK)
    score = index_score(obs, vector()[None, : len(WEIGHTS)])
    assert score[0, 0] == pytest.approx(0.6 - 0.3974, abs=1e-4)
    assert score[0, 1] < 0.6 - 0.67
    few = {"over_provision": 4.0, "batch_haste": 20.0}
    assert choose(obs, vector(**few)[None]).tolist() == [[1, 0, 1]]
    assert choose(obs, vector(**few, min_score=-3.0)[None]).tolist() == [[1, 1, 1]]
    assert choose(obs, vector(**few, min_score=0.25)[None]).tolist() == [[0, 0, 0]]


def test_working_cars_within_the_band_go_on(make_obs):
    duty = np.zeros((1, 10))
    duty[0, 5:9] = 1  # four at work, three wanted
    obs = make_obs(cars={"on_duty": duty, "ready_min": 0}, fleet={"chat_00h": 0.3}, shape=(1, 10))
    plain = {"over_provision": 1.0, "last_weight": 0.0, "on_duty": 0.1}
    assert choose(obs, vector(**plain)[None]).tolist() == [[0] * 5 + [1] * 3 + [0] * 2]
    assert choose(obs, vector(**plain, band=0.34)[None]).tolist() == [[0] * 5 + [1] * 4 + [0]]
    assert choose(obs, vector(**plain, band=0.32)[None]).tolist() == [[0] * 5 + [1] * 3 + [0] * 2]


def test_work_of_the_70b_tier_goes_to_cars_that_hold_it(make_obs):
    """The cheapest cars hold 8B only: no more of them than its work needs."""
    cars = {"busy_kw": [[0.3] * 5 + [0.5] * 5], "fits_70b": [[0] * 5 + [1] * 5]}
    work = {"chat_00h": 0.4, "chat_8b_last": 0.1, "chat_70b_last": 0.3}  # a quarter is 8B
    plain = {"over_provision": 1.0, "last_weight": 0.0, "min_score": -1.0, "fits_70b": 0.0}
    obs = make_obs(cars, work, shape=(1, 10))
    assert choose(obs, vector(**plain)[None]).tolist() == [[1] + [0] * 4 + [1, 1, 1, 0, 0]]
    batch = make_obs(cars, work | {"batch_due_1h": 0.2}, shape=(1, 10))  # 70B, at once
    bits = choose(batch, vector(**plain, batch_haste=1.0)[None])
    assert bits.tolist() == [[1] + [0] * 4 + [1] * 5]
    few = make_obs(cars | {"fits_70b": [[0] * 8 + [1] * 2]}, work, shape=(1, 10))
    assert choose(few, vector(**plain)[None]).tolist() == [[1] + [0] * 7 + [1, 1]]
    # a car that can do a quarter of the work is not worth its hour
    assert choose(obs, vector(**plain | {"fits_70b": 0.6, "min_score": -0.07})[None]).sum() == 4


@given(seed=seeds, num_envs=st.integers(1, 5), num_cars=st.integers(1, 30))
@settings(max_examples=60)
def test_the_choice_is_that_of_the_view_at_the_same_share(random_obs, seed, num_envs, num_cars):
    obs, rows = random_obs(seed, num_envs, num_cars), drawn(seed, num_envs)
    obs["cars"][..., CAR["fits_70b"]] = 1.0
    bits = choose(obs, rows)
    assert bits.dtype == np.int8
    assert (bits <= obs["mask"]).all()
    share = bits.sum(axis=1) / np.maximum(obs["mask"].sum(axis=1), 1)
    np.testing.assert_array_equal(bits, index_duty(obs, rows[:, : len(WEIGHTS)], share))


@given(seed=seeds)
@settings(max_examples=60)
def test_a_row_with_its_parameters_acts_alone_as_in_a_batch(random_obs, seed):
    obs, rows = random_obs(seed, 6, 25), drawn(seed, 6)
    together = choose(obs, rows)
    for row in range(6):
        alone = {key: value[[row]] for key, value in obs.items()}
        np.testing.assert_array_equal(choose(alone, rows[[row]])[0], together[row])


@given(seed=seeds)
@settings(max_examples=60)
def test_permuting_cars_permutes_the_choice(random_obs, seed):
    obs, rows = random_obs(seed, 2, 25), drawn(seed, 2)
    order = np.random.default_rng(seed + 1).permutation(25)
    moved = {"cars": obs["cars"][:, order], "fleet": obs["fleet"], "mask": obs["mask"][:, order]}
    scores = index_score(obs, rows[:, : len(WEIGHTS)])
    ties = [
        np.unique(s[a != 0]).size < (a != 0).sum() for s, a in zip(scores, obs["mask"], strict=True)
    ]
    same = (choose(moved, rows) == choose(obs, rows)[:, order]).all(axis=1)
    assert (same | ties).all()
    assert not all(ties)


def test_the_policy_plays_the_numbers_of_its_file(random_obs, tmp_path):
    file, values = tmp_path / "index.yaml", drawn(7, 1)[0]
    file.write_text(TunedFile.of_vector(values).text(), "utf-8")
    obs = random_obs(4, 3, 40)
    bits = TunedIndex(file=str(file)).act(obs, np.random.default_rng(0))
    np.testing.assert_array_equal(bits, choose(obs, np.tile(values, (3, 1))))
    assert 0 < bits.sum() < obs["mask"].sum()


# the search

LOW, HIGH = np.full(4, -2.0), np.full(4, 2.0)
TOY = SearchSettings(generations=40, popsize=10, sigma=0.5, seed=5)


def toy(generation: int, x: np.ndarray) -> np.ndarray:
    """Return a bowl with its top at 0.7, raised and lowered by the days of the generation."""
    luck = np.random.default_rng(generation).normal()
    return luck - ((x - 0.7) ** 2).sum(axis=1)


def same(a: History, b: History) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("scores", "means", "elites"))


def test_the_search_finds_the_top_of_a_bowl():
    history = search.search(toy, LOW, HIGH, TOY)
    assert history.means[-1] == pytest.approx(0.7, abs=0.02)
    assert history.scores.shape == (40, 10)


def test_candidates_stay_within_the_limits():
    met = []

    def uphill(generation: int, x: np.ndarray) -> np.ndarray:
        met.append(x)
        return x.sum(axis=1)

    search.search(uphill, LOW, HIGH, TOY)
    assert np.concatenate(met).max() <= 2.0
    assert met[-1].mean() > 1.8


def test_the_same_seed_gives_the_same_search_whatever_else_draws():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = search.search(toy, LOW, HIGH, TOY)
    np.random.seed(2)  # noqa: NPY002
    assert same(first, search.search(toy, LOW, HIGH, TOY))
    assert not same(first, search.search(toy, LOW, HIGH, replace(TOY, seed=6)))


def test_an_interrupted_search_goes_on_to_the_same_end(tmp_path):
    whole, file = search.search(toy, LOW, HIGH, TOY), tmp_path / "search.npz"
    calls = []

    def interrupted(generation: int, x: np.ndarray) -> np.ndarray:
        if generation == 17:
            raise KeyboardInterrupt
        return toy(generation, x)

    def counted(generation: int, x: np.ndarray) -> np.ndarray:
        calls.append(generation)
        return toy(generation, x)

    with pytest.raises(KeyboardInterrupt):
        search.search(interrupted, LOW, HIGH, TOY, keep=lambda history: history.save(file))
    known = History.load(file)
    assert len(known) == 17
    assert same(search.search(counted, LOW, HIGH, TOY, known), whole)
    assert calls == list(range(17, 40))


def test_a_search_that_is_not_ones_own_is_refused():
    known = search.search(toy, LOW, HIGH, replace(TOY, generations=3))
    with pytest.raises(ValueError, match="generation 0 of the saved search does not come out"):
        search.search(toy, LOW, HIGH, replace(TOY, seed=6), known)


def test_a_saved_search_runs_no_code(tmp_path):
    file = tmp_path / "search.npz"
    np.savez(file, scores=np.array([object()]), means=np.zeros(1), elites=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        History.load(file)


def test_a_score_that_is_no_number_stops_the_search():
    with pytest.raises(ValueError, match="generation 0: expected 10 numbers"):
        search.search(lambda g, x: np.full(len(x), np.nan), LOW, HIGH, TOY)


@pytest.mark.parametrize(
    ("name", "value"), [("generations", 0), ("popsize", 2), ("seed", -1), ("sigma", 0.0)]
)
def test_settings_of_a_search_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        SearchSettings(**{name: value})


def test_finalists_are_start_middles_and_elites():
    history = search.search(toy, LOW, HIGH, replace(TOY, generations=30))
    final = finalists(history)
    kinds = ["start"] + 4 * ["middle"] + ["mean of middles"] + 4 * ["elite"]
    assert list(final.kinds) == kinds
    assert final.generations == (0, 21, 24, 27, 30, 30, 27, 28, 29, 30)
    np.testing.assert_array_equal(final.candidates[0], 0.0)
    np.testing.assert_array_equal(final.candidates[3], history.means[26])
    np.testing.assert_allclose(final.candidates[5], history.means[20:].mean(axis=0))
    np.testing.assert_array_equal(final.candidates[-1], history.elites[29])
    assert len(finalists(search.search(toy, LOW, HIGH, replace(TOY, generations=1))).kinds) == 4


# on the environment

SMALL = scenario("suburb", num_cars=20)


def test_every_generation_has_its_own_train_days():
    days = [day for g in range(20) for day in train_days(g, 8)]
    assert len(set(days)) == 160
    assert all(0 <= day < 1_000_000 for day in train_days(10**6, 7))


@pytest.mark.slow
def test_a_candidate_earns_the_same_alone_and_beside_others(monkeypatch):
    rows = drawn(3, 4)
    together = earned(SMALL, "train", [5, 9], rows)
    assert together.shape == (4, 2)
    monkeypatch.setattr("agents.index.scores.BATCH_CARS", 1)  # one candidate at a time
    alone = earned(SMALL, "train", [5, 9], rows)  # sums of other lengths: last bits may differ
    np.testing.assert_allclose(alone, together, rtol=1e-12)
    assert np.ptp(together, axis=0).max() > 0


@pytest.mark.slow
def test_weights_that_move_nothing_are_found():
    assert set(same_for_all(SMALL, [0, 1])) == {"plugged", "fits_70b", "feeder"}
    mixed = scenario("mixed", num_cars=20)
    assert "fits_70b" not in same_for_all(mixed, [0, 1])


@pytest.mark.slow
def test_a_search_on_the_environment_repeats_and_resumes():
    space = Space.without(("plugged", "fits_70b", "feeder"))
    short = SearchSettings(generations=3, popsize=4, sigma=0.5, seed=2)

    def evaluate(generation: int, x: np.ndarray) -> np.ndarray:
        days = train_days(generation, 2)
        return earned(SMALL, "train", days, space.parameters(x)).mean(axis=1)

    first = search.search(evaluate, *space.limits(), short)
    assert same(first, search.search(evaluate, *space.limits(), short))
    known = search.search(evaluate, *space.limits(), replace(short, generations=1))
    assert same(first, search.search(evaluate, *space.limits(), short, known))
    assert np.ptp(first.scores, axis=1).min() > 0
