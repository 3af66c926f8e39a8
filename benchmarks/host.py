"""The machine, in the few facts that explain figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

GIBIBYTE = 1 << 30


def host_facts() -> dict[str, str]:
    """Processor, memory, system, interpreter and the libraries that the figures depend on."""
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    return {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"load {load:.1f} when printed",
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("uvloop", "rocksdict")),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
