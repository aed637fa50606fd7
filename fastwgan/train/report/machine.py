"""machine.json: what a run was computed with, which no other of its files says."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import torch

import fastwgan
from fastwgan.train.config import TrainConfig
from fastwgan.train.folder import RunFolder
from fastwgan.train.writing import write_whole

_CPUINFO = Path("/proc/cpuinfo")


def path(folder: RunFolder) -> Path:
    """The file of a run."""
    return folder.path / "machine.json"


def record(folder: RunFolder, config: TrainConfig, processes: int = 1) -> None:
    """Writes the versions and the machine of this process; a run's last part counts."""
    found = {
        "fastwgan": fastwgan.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{_processor()}, {os.cpu_count() or 1} cores, {config.threads} used",
        "device": _device(torch.device(config.device)),
        "processes": processes,
        "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    write_whole(path(folder), (json.dumps(found, indent=2) + "\n").encode())


def _processor() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
