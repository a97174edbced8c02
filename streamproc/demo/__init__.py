"""Simulated dubbing workers, and the truth about what they published."""
