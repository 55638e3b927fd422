"""Loaders by path: what they read, and that every fault is named with line, column and fix."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fleet_env.data.traces import (
    TraceError,
    count_windows,
    fill_missing,
    load_energy,
    load_requests,
    load_windows,
)
from fleet_env.generators.demand_sources import load_demand

REQUESTS = "t_s,input_tokens,output_tokens\n0,10,5\n30.5,20,6\n30.5,7,1\n700,1,1\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_text(text: str, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write_text


def windows_text(num: int, *, drop: tuple[int, ...] = (), head: str = "") -> str:
    rows = [f"{600 * i},{i + 1}" for i in range(num) if i not in drop]
    return head + "t_s,rate_rps\n" + "\n".join(rows) + "\n"


def energy_folder(folder: Path, hours: int = 4, **changes: str) -> Path:
    """Two small files; `changes` replace a piece of text, market="a>b" or carbon="a>b"."""
    times = [f"2022-01-01T{h:02d}:00:00Z" for h in range(hours)]
    market = "time_utc,price_usd_mwh,temp_c,filled\n"
    market += "".join(f"{t},{100 + i},{i - 2},0\n" for i, t in enumerate(times))
    carbon = "time_utc,ci_lca_g_kwh\n" + "".join(f"{t},{300 + i}\n" for i, t in enumerate(times))
    for name, text in (("price_weather", market), ("carbon", carbon)):
        key = "market" if name == "price_weather" else "carbon"
        if key in changes:
            old, new = changes[key].split(">")
            assert old in text
            text = text.replace(old, new, 1)
        (folder / f"{name}_X_2022_2023.csv").write_text(text, "utf-8")
    return folder


def test_requests_are_read_with_comments_blank_lines_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(b"# a note\n" + REQUESTS.replace("\n30", "\n\n30", 1).encode()))
    requests = load_requests(path)
    np.testing.assert_array_equal(requests.t_s, [0, 30.5, 30.5, 700])
    np.testing.assert_array_equal(requests.input_tokens, [10, 20, 7, 1])
    assert set(requests.service) == {""}


def test_requests_are_counted_per_window(write: Callable[..., Path]) -> None:
    windows = count_windows(write(REQUESTS), 10)
    np.testing.assert_allclose(windows.rate_rps, [3 / 600])  # the window of 700 s may be incomplete


def test_services_have_their_own_clock(write: Callable[..., Path]) -> None:
    head = "service,t_s,input_tokens,output_tokens\n"
    assert len(load_requests(write(head + "a,5,1,1\nb,0,1,1\n")).t_s) == 2
    with pytest.raises(TraceError, match=r":3 column 't_s' = '0': .*at least 5"):
        load_requests(write(head + "a,5,1,1\na,0,1,1\n"))


REQUEST_FAULTS = [  # replace -> line, column, value
    ("30.5,20,6", "30.5,20x,6", 3, "input_tokens", "20x"),
    ("30.5,20,6", "30.5,,6", 3, "input_tokens", ""),
    ("30.5,20,6", "30.5,nan,6", 3, "input_tokens", "nan"),
    ("30.5,20,6", "30.5,0,6", 3, "input_tokens", "0"),
    ("30.5,20,6", "30.5,20,1e8", 3, "output_tokens", "1e8"),
    ("30.5,20,6", "-1,20,6", 3, "t_s", "-1"),
    ("30.5,20,6", "800,20,6", 4, "t_s", "30.5"),
    ("30.5,20,6", "30.5,20", 3, "output_tokens", "row of 2 cells"),
    ("700,1,1", "7", 5, "output_tokens", "row of 1 cells"),
    ("input_tokens", "prompt", 1, "input_tokens", ""),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "value"), REQUEST_FAULTS)
def test_faults_of_requests_are_named(
    write: Callable[..., Path], old: str, new: str, line: int, column: str, value: str
) -> None:
    path = write(REQUESTS.replace(old, new, 1))
    wanted = f"^{re.escape(str(path))}:{line} column '{column}' = '{re.escape(value)}': expected .+"
    with pytest.raises(TraceError, match=wanted + r", fix: .+"):
        load_requests(path)


def test_missing_column_tells_which_are_there(write: Callable[..., Path]) -> None:
    with pytest.raises(TraceError, match="there: t_s, prompt, output_tokens"):
        load_requests(write(REQUESTS.replace("input_tokens", "prompt")))


def test_blank_lines_do_not_shift_line_numbers_nor_end_the_file(write: Callable[..., Path]) -> None:
    text = "t_s,input_tokens,output_tokens\n0,1,1\n" + "\n" * 70_000 + "1,bad,1\n"
    with pytest.raises(TraceError, match=":70003 column 'input_tokens' = 'bad'"):
        load_requests(write(text))


def test_files_that_cannot_be_read_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(TraceError, match=r"none\.csv.*No such file.*fix:"):
        load_requests(tmp_path / "none.csv")
    with pytest.raises(TraceError, match=r"no header line.*fix:"):
        load_requests(write(""))
    with pytest.raises(TraceError, match=r"no rows.*fix:"):
        load_requests(write(REQUESTS.splitlines()[0] + "\n"))
    path = tmp_path / "cut.csv.gz"
    whole = gzip.compress((REQUESTS + "701,1,1\n" * 1000).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=r"cut\.csv\.gz: damaged gzip.*fetch it again"):
        load_requests(path)
    path.write_bytes(REQUESTS.encode())
    with pytest.raises(TraceError, match="damaged gzip"):
        load_requests(path)


def test_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(REQUESTS.encode() + b"701,1,1\xe9\n")
    with pytest.raises(TraceError, match=r"latin\.csv:6: byte 0xe9: expected UTF-8"):
        load_requests(path)


def test_windows_are_read_with_their_notes(write: Callable[..., Path]) -> None:
    head = "# start_weekday: 1\n# non_working_days: 3,4\n"
    windows = load_windows(write(windows_text(6, head=head)), need_min=60)
    assert (windows.window_min, windows.start_weekday) == (10, 1)
    assert windows.non_working_days == (3, 4)
    np.testing.assert_array_equal(windows.rate_rps, [1, 2, 3, 4, 5, 6])
    assert windows.share_filled == 0
    plain = load_windows(write(windows_text(6)))
    assert (plain.start_weekday, plain.non_working_days) == (0, None)
    with pytest.raises(TraceError, match=":1 column 'start_weekday' = 'Tue': expected whole"):
        load_windows(write(windows_text(6, head="# start_weekday: Tue\n")))


@pytest.mark.parametrize(
    ("fill", "middle"), [("hold", [2, 2]), ("zero", [0, 0]), ("interpolate", [3, 4])]
)
def test_gaps_are_filled_only_as_named(
    write: Callable[..., Path], fill: str, middle: list[float]
) -> None:
    path = write(windows_text(6, drop=(2, 3)))
    with pytest.raises(TraceError, match=r":4 column 't_s' = '2400': expected .*1200 s.*interpol"):
        load_windows(path)
    windows = load_windows(path, fill=fill)
    np.testing.assert_allclose(windows.rate_rps, [1, 2, *middle, 5, 6])
    assert windows.share_filled == pytest.approx(2 / 6)


WINDOW_FAULTS = [
    ("600,2", "0,2", r":3 column 't_s' = '0'.*drop double"),
    ("1200,3", "500,3", r":4 column 't_s' = '500'.*sort"),
    ("1200,3", "1300,3", r":4 column 't_s' = '1300': expected a multiple of 600 s"),
    ("\n0,1", "\n100,1", r":2 column 't_s' = '100': expected .*local midnight"),
    ("1200,3", "1200,-3", r":4 column 'rate_rps' = '-3'"),
    ("rate_rps", "rate_per_min", r":1 column 'rate_rps' = '': .*there: t_s, rate_per_min"),
]


@pytest.mark.parametrize(("old", "new", "message"), WINDOW_FAULTS)
def test_faults_of_windows_are_named(
    write: Callable[..., Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        load_windows(write(windows_text(6).replace(old, new, 1)))


def test_window_files_in_minutes_off_midnight_or_short_are_refused(
    write: Callable[..., Path],
) -> None:
    late = "t_s,rate_rps\n600,1\n1200,1\n"
    with pytest.raises(TraceError, match=r":2 column 't_s' = '600'.*local midnight"):
        load_windows(write(late))
    minutes = "t_s,rate_rps\n0,1\n10,1\n20,1\n"
    with pytest.raises(TraceError, match=r":3 column 't_s' = '10'.*1 to 60 whole minutes"):
        load_windows(write(minutes))
    with pytest.raises(TraceError, match=r"covers 60 minutes: expected at least 1440"):
        load_windows(write(windows_text(6)), need_min=1440)
    too_much = "t_s,rate_rps,rate_interactive_rps\n0,2,1\n600,2,3\n"
    with pytest.raises(TraceError, match=":3 column 'rate_interactive_rps' = '3'"):
        load_windows(write(too_much))
    with pytest.raises(ValueError, match="fill='guess'"):
        load_windows(write(windows_text(6)), fill="guess")


def test_fill_holds_the_first_known_value_backwards() -> None:
    missing = np.array([True, False, True])
    np.testing.assert_array_equal(fill_missing(np.array([0, 4.0, 0]), missing, "hold"), [4, 4, 4])
    with pytest.raises(ValueError, match="fill='fail'"):
        fill_missing(np.zeros(3), missing, "fail")


def test_energy_is_read_in_units_of_the_model(tmp_path: Path) -> None:
    series = load_energy(energy_folder(tmp_path), "X")
    assert series.start_utc_h == int(np.datetime64("2022-01-01T00", "h").astype(int))
    np.testing.assert_allclose(series.price_usd_per_kwh, [0.100, 0.101, 0.102, 0.103], rtol=1e-6)
    np.testing.assert_array_equal(series.temp_c, [-2, -1, 0, 1])
    np.testing.assert_array_equal(series.carbon_g_per_kwh, [300, 301, 302, 303])


ENERGY_FAULTS = [
    ("market", "T01:00:00Z,101>T01:00:00Z,20001", r":3 column 'price_usd_mwh' = '20001'"),
    ("market", ",101,-1>,101,61", r":3 column 'temp_c' = '61'.*Celsius"),
    ("market", "T01:00:00Z>T01:00:00", r":3 column 'time_utc' = '.*00:00': .*final Z"),
    ("market", "T01:00:00Z>T01:30:00Z", r":3 column 'time_utc' .*full hour"),
    ("market", "2022-01-01T01:>2022-13-01T01:", r":3 column 'time_utc' .*full hour"),
    ("market", "T02:00:00Z>T01:00:00Z", r":4 column 'time_utc' .*double"),
    ("market", "T03:00:00Z>T05:00:00Z", r":5 column 'time_utc' .*hour after .*T02.*add the hours"),
    ("carbon", ",301>,2001", r":3 column 'ci_lca_g_kwh' = '2001'.*g/kWh"),
    ("carbon", ",301>,-1", r":3 column 'ci_lca_g_kwh' = '-1'"),
    ("carbon", "ci_lca_g_kwh>ci", r":1 column 'ci_lca_g_kwh' = '': .*there: time_utc, ci"),
    ("carbon", "2022-01-01T03:00:00Z,303\n>", r":2 column 'time_utc' .*4 hours from .*same hours"),
]


@pytest.mark.parametrize(("which", "change", "message"), ENERGY_FAULTS)
def test_faults_of_energy_files_are_named(
    tmp_path: Path, which: str, change: str, message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        load_energy(energy_folder(tmp_path, **{which: change}), "X")


def test_negative_prices_are_prices(tmp_path: Path) -> None:
    series = load_energy(energy_folder(tmp_path, market=",100,>,-90.5,"), "X")
    assert series.price_usd_per_kwh[0] == pytest.approx(-0.0905)


def test_missing_region_lists_the_folder(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"0 files price_weather_Y.*there: carbon_X_2022_2023.csv"):
        load_energy(energy_folder(tmp_path), "Y")


def test_real_energy_files_have_two_years_of_hours(data_dir: Path) -> None:
    for region in ("US-CAL-CISO", "US-TEX-ERCO", "DE-LU", "AU-NSW"):
        series = load_energy(data_dir / "energy", region)
        assert len(series.temp_c) == 17_520
        assert series.start_utc_h == int(np.datetime64("2022-01-01T00", "h").astype(int))
    assert load_energy(data_dir / "energy", "DE-LU").share_filled == pytest.approx(28 / 17_520)


def test_real_requests_are_read_and_too_short_for_a_day(data_dir: Path) -> None:
    path = data_dir / "llm" / "azure2023_requests.csv.gz"
    requests = load_requests(path)
    assert len(requests.t_s) == 28_185
    chat = requests.service == "conv"
    assert requests.input_tokens[chat].mean() == pytest.approx(1155, abs=0.5)  # domain 5
    assert requests.output_tokens[chat].mean() == pytest.approx(211, abs=0.5)
    with pytest.raises(TraceError, match="covers 50 minutes: expected at least 2880"):
        load_demand(str(path), "America/Los_Angeles")


def test_real_windows_make_a_demand_trace(data_dir: Path) -> None:
    path = data_dir / "llm" / "servegen_m_large_windows.csv.gz"
    assert len(load_windows(path).rate_rps) == 2016
    trace = load_demand(str(path), "America/Los_Angeles")
    shipped = load_demand("servegen", "America/Los_Angeles")
    assert trace.rate.shape == (3, 14 * 1440)
    np.testing.assert_allclose(trace.rate[1:], shipped.rate[1:], rtol=2e-3)  # rounding of the table
