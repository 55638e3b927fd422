"""The model of `docs/model.md` a second time: plain Python floats, loops over cars and minutes.

Written from the specification and not from the code: nothing here imports a kernel, a generator or the simulation, and the
constants of the tables are typed again from the parameter survey ("domain"). It is slow, and meant to be read top to bottom:
`sim.play_step` is one step, in the order of section 2 of the specification.
"""
