"""Section `compute`: what a run cost, by the machine's own counters; nothing is guessed. Loads without torch.

What belongs here: reading counters at the start and at the end. What does not: compute seconds over all attempts (attempt).
Energy is read from Intel's RAPL counters (Linux powercap) and NVIDIA's NVML; where there are none the line says so.
"""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from training.audit import Item

POWERCAP = Path("/sys/class/powercap")
_GIB = 2**30
_JOULES_PER_WH = 3600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment; joules are None where no counter can be read."""

    wall_s: float
    cpu_s: float
    """Of this process, its threads and the children it has waited for."""
    cpu_joules: float | None
    """Since the counter last began at 0; all processes of the machine."""
    gpu_joules: float | None


class Meter:
    """Counters since it was made."""

    def __init__(self, gpu: int | None = None, powercap: Path = POWERCAP) -> None:
        self._gpu, self._powercap = gpu, powercap
        self._wraps_at = _total(powercap, "max_energy_range_uj")
        self._first = self._read()

    def _read(self) -> Reading:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu_s = sum(u.ru_utime + u.ru_stime for u in used)
        joules = _total(self._powercap, "energy_uj")
        return Reading(time.monotonic(), cpu_s, joules, None if self._gpu is None else gpu_joules(self._gpu))

    def lines(self, all_attempts_s: float, gpu_peak_bytes: int | None) -> Iterator[Item]:
        """What was used since the start of this attempt."""
        first, last = self._first, self._read()
        wall = last.wall_s - first.wall_s
        yield _item(
            "wall clock",
            round(all_attempts_s, 1),
            f"{all_attempts_s:.0f} s, all attempts together; this one {wall:.0f} s",
        )
        cpu = last.cpu_s - first.cpu_s
        yield _item("processor time", round(cpu, 1), f"{cpu:.0f} s of all cores together, this attempt")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux
        yield _item("peak memory", peak / _GIB, f"{peak / _GIB:.2f} GiB resident, this process")
        if gpu_peak_bytes is None:
            yield Item("compute", "GPU memory", "not_applicable", None, "no GPU was used")
        else:
            yield _item("GPU memory", gpu_peak_bytes / _GIB, f"{gpu_peak_bytes / _GIB:.2f} GiB at most")
        yield self._cpu_energy(last)
        yield self._gpu_energy(last)

    def _cpu_energy(self, last: Reading) -> Item:
        if last.cpu_joules is None or self._first.cpu_joules is None:
            text = "no RAPL counter can be read here; energy is not guessed from the time"
            return Item("compute", "processor energy", "not_applicable", None, text)
        joules = last.cpu_joules - self._first.cpu_joules
        if joules < 0:
            joules += self._wraps_at or 0.0
        text = f"{joules:.0f} J by RAPL: the whole package, other processes too, this attempt; a long run may pass the counter's end unseen"
        return _item("processor energy", joules / _JOULES_PER_WH, f"{joules / _JOULES_PER_WH:.2f} Wh; {text}")

    def _gpu_energy(self, last: Reading) -> Item:
        if self._gpu is None:
            return Item("compute", "GPU energy", "not_applicable", None, "no GPU was used")
        if last.gpu_joules is None or self._first.gpu_joules is None:
            return Item(
                "compute", "GPU energy", "not_applicable", None, "the GPU has no energy counter (NVML) here"
            )
        joules = last.gpu_joules - self._first.gpu_joules
        text = f"{joules / _JOULES_PER_WH:.2f} Wh; {joules:.0f} J by NVML: the whole GPU, other processes too, this attempt"
        return _item("GPU energy", joules / _JOULES_PER_WH, text)


def _total(powercap: Path, name: str) -> float | None:
    """Joules of all packages; None where no counter can be read (many systems let only root)."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        if (
            zone.name.count(":") == 1
        ):  # a package; its cores and memory are zones below it and would count twice
            with suppress(OSError, ValueError):
                found.append(int((zone / name).read_text()) / 1e6)
    return sum(found) if found else None


def gpu_joules(index: int) -> float | None:
    """Joules of one GPU since its driver was loaded, by NVML; None where there is no such counter."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
        if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
            return None
        if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) != 0:
            return None
        return millijoules.value / 1000
    finally:
        nvml.nvmlShutdown()


def _item(name: str, value: float, text: str) -> Item:
    return Item("compute", name, "computed", value, text)
