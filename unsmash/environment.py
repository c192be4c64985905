"""The machine and the versions a run was made with, for its reproducibility block."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

PACKAGES = ("unsmash", "torch", "torchvision", "torchmetrics", "numpy")


def describe(device: torch.device) -> dict[str, str]:
    """Versions, processor kind, threads and device. Names no host, user or path."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["machine"] = f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores"
    found["threads"] = str(torch.get_num_threads())
    found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else "processor unknown"
    except OSError:
        return platform.processor() or "processor unknown"
