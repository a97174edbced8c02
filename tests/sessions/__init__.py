"""Session documents as their owners have them, and the proof at scale: ``python -m tests.sessions``."""
