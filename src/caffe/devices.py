"""Which GPUs there are, and why one cannot be used and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import DeviceError

if TYPE_CHECKING:
    import torch

CPU_ADVICE = "Call caffe.set_mode_cpu() to run on the CPU."


@dataclass(frozen=True)
class Card:
    """One GPU as PyTorch sees it."""

    name: str
    memory: int
    architecture: str


@dataclass(frozen=True)
class DeviceFacts:
    """What is known about this machine's GPUs and this PyTorch build.

    Attributes
    ----------
    torch_version : str
        PyTorch's version, with its build suffix.
    backend : str or None
        The kind of accelerator that the build supports: "cuda", "xpu", "mps", ...
    built_for : tuple of str
        The GPU architectures that a CUDA build carries code for, e.g. ("sm_80", "sm_90").
    cards : tuple of Card
        The devices found.
    failure : str or None
        What the driver said when it was asked for devices and could not answer.
    runtime : str or None
        The GPU runtime that the build uses, with its version.
    """

    torch_version: str
    backend: str | None
    built_for: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    failure: str | None = None
    runtime: str | None = None


def device_facts() -> DeviceFacts:
    """Ask PyTorch which accelerator it was built for, and which devices it finds."""
    from .pytorch import torch

    version = torch.__version__
    if torch.version.cuda or torch.version.hip:
        return _cuda_facts(version)
    for backend in ("xpu", "mps"):
        module = getattr(torch, backend, None)
        if module is not None and module.is_available():
            count = module.device_count()
            cards = tuple(Card(f"{backend} device {i}", 0, "") for i in range(count))
            return DeviceFacts(version, backend, cards=cards)
    return DeviceFacts(version, None)


def _cuda_facts(version: str) -> DeviceFacts:
    from .pytorch import torch

    runtime = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"HIP {torch.version.hip}"
    try:
        torch.cuda.init()
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError) as error:
        return DeviceFacts(version, "cuda", failure=str(error).splitlines()[0], runtime=runtime)
    cards = tuple(Card(p.name, p.total_memory, f"sm_{p.major}{p.minor}") for p in properties)
    built_for = tuple(torch.cuda.get_arch_list())
    return DeviceFacts(version, "cuda", built_for, cards, runtime=runtime)


def why_unusable(facts: DeviceFacts, device: int) -> str | None:
    """Say why GPU number `device` cannot be used and what to do; None when it can.

    Parameters
    ----------
    facts : DeviceFacts
        As `device_facts` gives them.
    device : int
        The GPU, counted from 0.
    """
    if facts.backend is None:
        return (
            f"this PyTorch ({facts.torch_version}) is a CPU-only build. "
            "Install a PyTorch with GPU support (see pytorch.org/get-started). " + CPU_ADVICE
        )
    if not facts.cards:
        said = f" (it says: {facts.failure})" if facts.failure else ""
        return (
            f"PyTorch {facts.torch_version} supports GPUs but finds no working GPU driver{said}. "
            "Install or update the driver and check that a GPU is present. " + CPU_ADVICE
        )
    if not 0 <= device < len(facts.cards):
        return (
            f"there is no GPU {device}; this machine has {len(facts.cards)}, numbered from 0. "
            "Choose another with caffe.set_device(i). " + CPU_ADVICE
        )
    card = facts.cards[device]
    if facts.built_for and not _has_code_for(card.architecture, facts.built_for):
        return (
            f"GPU {device} ({card.name}, {card.architecture}) is not supported by this PyTorch "
            f"build ({facts.torch_version}, made for {', '.join(facts.built_for)}). "
            "Install a PyTorch release that supports the card. " + CPU_ADVICE
        )
    return None


def _has_code_for(architecture: str, built_for: tuple[str, ...]) -> bool:
    """Binary code runs on later minor versions of its major one; PTX on everything later."""
    known = ("sm_", "compute_")
    if not all(name.startswith(known) for name in (architecture, *built_for)):
        return True
    card = int("".join(filter(str.isdigit, architecture)))
    for entry in built_for:
        code = int("".join(filter(str.isdigit, entry.split("_")[1])))
        if entry.startswith("compute_") and code <= card:
            return True
        if code <= card and code // 10 == card // 10:
            return True
    return False


def usable_device(device: int) -> torch.device:
    from .pytorch import torch

    facts = device_facts()
    reason = why_unusable(facts, device)
    if reason is not None:
        raise DeviceError(f"GPU mode is not possible: {reason}")
    assert facts.backend is not None
    return torch.device(facts.backend, device)


def check_process(device: torch.device) -> None:
    """Check that this process can reach a GPU; a fork of one that has used CUDA cannot.

    Raises
    ------
    DeviceError
        It cannot.
    """
    from .pytorch import torch

    if device.type == "cuda" and torch.cuda._is_in_bad_fork():  # noqa: SLF001
        raise DeviceError(
            "a process that was forked from one that has used the GPU cannot use it; start "
            "processes by 'spawn', or call caffe.set_mode_gpu() in the children only"
        )
