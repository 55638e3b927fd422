"""The model of `docs/model.md` a second time: plain Python floats, loops over cars and minutes.

Written from the specification and not from the code: nothing here imports a kernel, a generator or
the simulation (but for `side_by_side`, which sets the two against each other), and the constants of
the tables are typed again from the parameter survey ("domain"). It is slow, and meant to be read:
start at `sim.play_step`, one step in the order of section 2.
"""
