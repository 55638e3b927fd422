"""Experiments with parked cars as data centres: `fleet compare`, `evaluate`, `study`, `bench`."""
