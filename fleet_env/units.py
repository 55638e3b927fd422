"""Conversions between units; the only place where such factors are written."""

HOURS_PER_DAY = 24.0
MIN_PER_H = 60.0
S_PER_MIN = 60.0
S_PER_H = 3600.0
W_PER_KW = 1000.0
KWH_PER_MWH = 1000.0
G_PER_KG = 1000.0
DAYS_PER_YEAR = 365.25
DAYS_PER_MONTH = DAYS_PER_YEAR / 12.0
MBIT_PER_GB = 8000.0
KB_PER_GB = 1e6
TOKENS_PER_MTOK = 1e6
KELVIN_AT_0_C = 273.15
