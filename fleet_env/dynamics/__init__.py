"""Kernels of the simulation: pure functions on arrays of cars or rows."""
