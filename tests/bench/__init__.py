"""Benchmarks: a stock of data at the mission's scale, and how long each question takes on it."""
