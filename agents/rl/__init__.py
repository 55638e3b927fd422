"""Learned policies: trained with torch and Stable-Baselines3."""
