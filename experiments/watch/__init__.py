"""Replay of one day of one policy: a page to look at, and a moving picture."""
