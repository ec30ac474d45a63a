"""What `vsr doctor` finds of the machine: processor, GPUs, memory, disk space and fonts."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...quantities import counted, size
from ...report.fonts import CJK, EMOJI, base_font, has_raqm, system_font
from ...system_errors import CACHE_VARIABLE, cache_folder, describe_os_error
from .finding import Finding

LITTLE_DISK, LITTLE_MEMORY = 5 * 2**30, 4 * 2**30
"""Bytes below which the default preset is likely to fail."""
LETTERS = {CJK: "漢", EMOJI: "😀", "Arabic": "ع", "Devanagari": "अ", "Thai": "ก"}
PACKAGES = {CJK: "fonts-noto-cjk", EMOJI: "fonts-noto-color-emoji"}
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bf16", "amx_bf16": "AMX"}
"""Flags of /proc/cpuinfo that make matrix products faster, and their names."""


def machine() -> list[Finding]:
    """Return what this machine offers. Imports torch, which alone knows the devices that it can use."""
    return [_processor(), *_devices(), _memory(), *_disks(), *_fonts()]


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = [f"{counted(cores, 'core')} of {platform.machine()}", *cpu_instructions()]
    return Finding(group="machine", name="processor", value=", ".join(words))


def cpu_instructions(path: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return the instructions of the processor that matter for training; none where the system does not list them."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for flag, name in INSTRUCTIONS.items() if flag in flags]


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        remedy = "pip install --force-reinstall torch torchvision"
        yield Finding(
            group="machine", name="torch", state="problem", value=f"cannot be imported: {reason}", remedy=remedy
        )
        return
    threads = f"{torch.get_num_threads()} threads, instructions {torch.backends.cpu.get_cpu_capability()}"
    yield Finding(group="machine", name="torch on the CPU", value=threads)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            kinds = "bf16" if facts.major >= 8 else "fp16, no native bf16"
            yield Finding(
                group="machine", name=f"cuda:{number}", value=f"{facts.name}, {size(facts.total_memory)}, {kinds}"
            )
    elif torch.backends.mps.is_available():
        yield Finding(group="machine", name="mps", value="the GPU of this Mac")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            group="machine",
            name="GPU",
            state="warning",
            value=f"the NVIDIA driver is installed, but torch {torch.__version__} cannot use it",
            remedy="run nvidia-smi; if it lists a GPU, install a build of torch for its CUDA version",
        )
    else:
        yield Finding(group="machine", name="GPU", state="absent", value="none; training runs on the CPU")


def _memory() -> Finding:
    total, available = memory()
    if total is None:
        return Finding(group="machine", name="memory", value="unknown on this system")
    value = size(total) if available is None else f"{size(total)}, of which {size(available)} are free"
    if (total if available is None else available) < LITTLE_MEMORY:
        remedy = "close other programs, or use --preset tiny"
        return Finding(group="machine", name="memory", state="warning", value=value, remedy=remedy)
    return Finding(group="machine", name="memory", value=value)


def memory(system: Path = Path("/")) -> tuple[int | None, int | None]:
    """Return the bytes of memory and those that are available: of the machine, or of the container where it has less.

    None where the system does not report it.
    """
    total = available = None
    try:
        lines = (system / "proc/meminfo").read_text(encoding="ascii").splitlines()
        facts = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, available = facts["MemTotal"], facts["MemAvailable"]
    except (OSError, ValueError, LookupError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int((system / "sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int((system / "sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return total, available
    if total is None or limit < total:
        total, available = limit, min(limit - used, limit if available is None else available)
    return total, available


def _disks() -> Iterator[Finding]:
    from huggingface_hub import constants

    yield disk("feature cache", cache_folder(), CACHE_VARIABLE)
    yield disk("Hugging Face cache", Path(constants.HF_HUB_CACHE), "HF_HOME")
    yield disk("temporary files", Path(tempfile.gettempdir()), "TMPDIR")
    yield disk("this folder", Path.cwd(), None)


def disk(name: str, folder: Path, variable: str | None) -> Finding:
    """Return the free space at a folder, which may not exist yet, and whether it can be written."""
    elsewhere = f"set {variable} to a folder on another disk" if variable else "work in another folder"
    there = next((path for path in [folder, *folder.parents] if path.exists()), Path("/"))
    try:
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there if there.is_dir() else there.parent):
            pass
    except OSError as error:
        value = f"{folder}: cannot be written ({describe_os_error(error).partition(';')[0]})"
        return Finding(group="disk", name=name, state="problem", value=value, remedy=elsewhere)
    value = f"{size(free)} free at {folder}"
    if free < LITTLE_DISK:
        remedy = f"free some space, or {elsewhere}"
        return Finding(group="disk", name=name, state="warning", value=value, remedy=remedy)
    return Finding(group="disk", name=name, value=value)


def _fonts() -> Iterator[Finding]:
    yield Finding(group="fonts of images", name="Latin", value=base_font("").name)
    for script, letter in LETTERS.items():
        if found := system_font(letter, ""):
            yield Finding(group="fonts of images", name=script, value=found[0].name)
        else:
            remedy = f"install one (e.g. {PACKAGES.get(script, 'fonts-noto-core')} on Debian), or name one with --font"
            yield Finding(group="fonts of images", name=script, state="absent", value="none installed", remedy=remedy)
    if not has_raqm():
        yield Finding(
            group="fonts of images",
            name="joined letters",
            state="absent",
            value="Pillow has no Raqm",
            remedy="install libfribidi0 (on Debian), and Pillow as a wheel",
        )
