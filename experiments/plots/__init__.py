"""Figures: every function takes an `Axes`, draws one thing on it and returns it; no files here."""
