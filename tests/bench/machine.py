"""What machine figures were taken on: said beside each of them."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def described() -> str:
    """Such as ``CPython 3.11.7; AMD EPYC, 2 cores, Linux x86_64``."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}; {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
