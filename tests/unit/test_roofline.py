"""The roofline against every row of the table of domain 1c."""

from __future__ import annotations

import pytest

from fleet_env.config import DataCentreConfig
from fleet_env.dynamics import roofline
from fleet_env.dynamics.roofline import DEFAULT_MIX, Accelerator, Mix

# not a car: a measured anchor
THOR = Accelerator("thor", 1035.0, 110.0, 273.0, 0.0, 130.0, 0.60, 0.35)
TOLERANCE = 0.03

# columns: chip, model, then tok/s of a single stream, of prefill, and of output at batch 8, 32 and
# the largest that fits, and the time per token at that batch in ms
TABLE_1C = [
    ("hw3", "8b", 18, 3_200, 104, 225, 276, 117),
    ("ai4", "8b", 59, 5_300, 292, 538, 637, 39),
    ("ai5", "8b", 147, 32_800, 887, 2_004, 3_366, 119),
    ("ai5", "13b", 86, 20_200, 417, 725, 895, 118),
    ("ai5", "70b", 17, 3_720, 109, 276, 484, 122),
    ("claim", "8b", 587, 131_000, 3_550, 8_016, 13_700, None),
    ("claim", "70b", 67, 14_900, 436, 1_103, 2_200, None),
    ("thor", "70b", 4, 2_570, 30, 91, 243, None),
]


def _chip(name: str) -> Accelerator:
    return THOR if name == "thor" else roofline.accelerator(name)


@pytest.mark.parametrize(
    ("chip", "llm", "single", "prefill", "at_8", "at_32", "at_max", "tpot_ms"), TABLE_1C
)
def test_table_1c_is_reproduced(
    chip: str,
    llm: str,
    single: float,
    prefill: float,
    at_8: float,
    at_32: float,
    at_max: float,
    tpot_ms: float | None,
) -> None:
    acc, model = _chip(chip), roofline.model(llm)
    largest = roofline.max_batch(acc, model, DEFAULT_MIX)
    got = [
        1.0 / roofline.t_step_s(acc, model, 1, DEFAULT_MIX),
        DEFAULT_MIX.input_tokens / roofline.t_prefill_s(acc, model, DEFAULT_MIX),
        *(roofline.out_rate(acc, model, batch, DEFAULT_MIX) for batch in (8, 32, largest)),
    ]
    # the table prints the single stream in whole tokens: half a token is more than 3 % of 4
    assert got[0] == pytest.approx(single, rel=TOLERANCE, abs=0.5)
    assert got[1:] == pytest.approx([prefill, at_8, at_32, at_max], rel=TOLERANCE)
    if tpot_ms is not None:
        step_ms = 1e3 * roofline.t_step_s(acc, model, largest, DEFAULT_MIX)
        assert step_ms == pytest.approx(tpot_ms, rel=TOLERANCE)


def test_ai4_runs_13b_at_batch_6_and_does_not_hold_70b() -> None:
    ai4, llm = roofline.accelerator("ai4"), roofline.model("13b")
    assert 1.0 / roofline.t_step_s(ai4, llm, 1, DEFAULT_MIX) == pytest.approx(34, rel=TOLERANCE)
    assert DEFAULT_MIX.input_tokens / roofline.t_prefill_s(ai4, llm, DEFAULT_MIX) == pytest.approx(
        3_270, rel=TOLERANCE
    )
    assert roofline.max_batch(ai4, llm, DEFAULT_MIX) == 6
    assert roofline.out_rate(ai4, llm, 6, DEFAULT_MIX) == pytest.approx(123, rel=TOLERANCE)
    assert not roofline.fits(ai4, roofline.model("70b"), 1, DEFAULT_MIX)
    assert roofline.max_batch(ai4, roofline.model("70b"), DEFAULT_MIX) == 0


@pytest.mark.parametrize(
    ("n_in", "n_out", "published_roofline"), [(1000, 1000, 8_460), (2048, 128, 1_229)]
)
def test_b200_reproduces_the_calibration_rooflines(
    n_in: float, n_out: float, published_roofline: float
) -> None:
    b200, llm, mix = roofline.accelerator("b200"), roofline.model("70b"), Mix(n_in, n_out)
    rate = roofline.out_rate(b200, llm, roofline.max_batch(b200, llm, mix), mix)
    assert rate == pytest.approx(published_roofline, rel=0.01)


@pytest.mark.parametrize("llm", ["8b", "13b", "70b"])
def test_weights_are_four_and_a_half_bits_per_parameter(llm: str) -> None:
    model = roofline.model(llm)
    assert model.weights_gb == pytest.approx(model.params_b * 4.5 / 8, rel=0.005)


@pytest.mark.parametrize(("llm", "kwh_per_mtok"), [("70b", 0.50), ("8b", 0.069)])
def test_energy_of_a_token_at_the_wall_power_of_an_ai5_car(llm: str, kwh_per_mtok: float) -> None:
    rate = roofline.out_rate(roofline.accelerator("ai5"), roofline.model(llm), 32, DEFAULT_MIX)
    assert 497.0 / rate * 1e6 / 3.6e6 == pytest.approx(kwh_per_mtok, rel=TOLERANCE)


def test_compute_bound_step_is_used_where_it_is_longer() -> None:
    slow = Accelerator("slow", 1.0, 100.0, 1e6, 0.0, 1.0, 0.6, 0.35)
    llm = roofline.model("8b")
    assert roofline.t_step_s(slow, llm, 4, DEFAULT_MIX) == pytest.approx(2 * 8e9 * 4 / 0.35e12)


@pytest.mark.parametrize("tpot_s", [0.02, 0.08, 0.2])
def test_largest_batch_in_time_is_the_last_that_meets_the_limit(tpot_s: float) -> None:
    ai5 = roofline.accelerator("ai5")
    for llm in (roofline.model("8b"), roofline.model("70b")):
        batch = roofline.max_batch_in_time(ai5, llm, DEFAULT_MIX, tpot_s)
        if batch == 0:
            assert roofline.t_step_s(ai5, llm, 1, DEFAULT_MIX) > tpot_s
        else:
            assert roofline.t_step_s(ai5, llm, batch, DEFAULT_MIX) <= tpot_s
            assert roofline.t_step_s(ai5, llm, batch + 1, DEFAULT_MIX) > tpot_s


def test_memory_limit_is_exact() -> None:
    ai5, llm = roofline.accelerator("ai5"), roofline.model("70b")
    largest = roofline.max_batch(ai5, llm, DEFAULT_MIX)
    assert largest == 206  # domain 1c: batch range up to 206
    assert roofline.fits(ai5, llm, largest, DEFAULT_MIX)
    assert not roofline.fits(ai5, llm, largest + 1, DEFAULT_MIX)


def test_claim_is_four_pooled_ai5() -> None:
    claim, ai5 = roofline.accelerator("claim"), roofline.accelerator("ai5")
    assert (claim.dense_tops, claim.memory_gb, claim.bandwidth_gb_per_s) == (
        4 * ai5.dense_tops,
        4 * ai5.memory_gb,
        4 * ai5.bandwidth_gb_per_s,
    )


def test_datacentre_price_gives_the_configured_price_at_the_default_mix() -> None:
    price = roofline.datacentre_price(DataCentreConfig())
    request_usd = price @ [1155.0, 211.0]
    assert request_usd == pytest.approx([0.042 * 211e-6, 0.28 * 211e-6], rel=1e-12)
    assert (price > 0.0).all()


def test_datacentre_price_ratio_is_that_of_the_b200_by_hand() -> None:
    # 70B: 2 x 70.6e9 / (0.35 x 9e15) s per input token; B = 546 (122.3 GB / (163,840 x 1,366));
    # step (39.7e9 + 546 x 163,840 x 1,260.5) / (0.6 x 8e12) s
    input_s = 2 * 70.6e9 / (0.35 * 9e15)
    output_s = (39.7e9 + 546 * 163_840 * 1_260.5) / 4.8e12 / 546
    a, b = roofline.datacentre_price(DataCentreConfig())[1]
    assert a / b == pytest.approx(input_s / output_s, rel=1e-9)
    assert 0.5 < a / b < 1.0


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(
        ValueError,
        match=r"'ai9' is not in accelerators\.csv: expected one of hw3, ai4, ai5, claim",
    ):
        roofline.accelerator("ai9")
    with pytest.raises(ValueError, match="7b"):
        roofline.model("7b")
