"""Dispatch rules that people would try first; all see the same observation."""
