"""What is computed on: the devices of this machine, their precision and their memory, and what to do when it is full.

Belongs here: which devices are used and in which precision, sending data to them, telling that memory is full. Does
not belong here: the processes of a training on several devices (`distributed`), what is computed.

Everything that runs on a device is written once, for CUDA, Apple's MPS and the CPU. A device is what torch shows of
it: `CUDA_VISIBLE_DEVICES` chooses among GPUs, and a MIG slice is a GPU of its own size.
"""

import contextlib
import ctypes
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
T = TypeVar("T")


def choose_devices() -> "list[torch.device]":
    """Devices to compute on: all CUDA devices this process may see, else Apple's MPS, else the CPU.

    On GPUs products of float32 numbers are products of float32 numbers: torch would otherwise round them to 10 bits
    (TF32), and results would differ between machines.

    Returns
    -------
    list of torch.device
        The first embeds, all train.
    """
    import torch

    exact_float32()
    if torch.cuda.is_available():
        devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    elif torch.backends.mps.is_available():
        devices = [torch.device("mps")]
    else:
        keep_freed_memory()
        devices = [torch.device("cpu")]
    log.info("computing on %s", ", ".join(map(str, devices)))  # asking a GPU more would take some of its memory
    return devices


def exact_float32() -> None:
    """Let GPUs multiply float32 numbers as such, in this process."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def accelerator() -> "torch.device | None":
    """The first CUDA device, for sums in float64 over many galaxies; None where there is none.

    torch is not imported on a machine without NVIDIA's driver, so that asking costs nothing there.

    Returns
    -------
    torch.device or None
    """
    if not _driver_sees_a_gpu():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    exact_float32()
    device = torch.device("cuda", 0)
    try:
        torch.ones(1, device=device).add_(1)
    except RuntimeError as error:  # too old for this PyTorch, or another process has it for itself
        log.warning("%s cannot be used: %s", device, str(error).splitlines()[0])
        return None
    return device


@functools.cache
def _driver_sees_a_gpu() -> bool:
    """Whether NVIDIA's driver is there and shows this process a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return not driver.cuInit(0) and not driver.cuDeviceGetCount(ctypes.byref(count)) and count.value > 0


@dataclass(frozen=True)
class Device:
    """What is known of a device.

    Attributes
    ----------
    name : str
        As its maker calls it.
    memory, free : int
        Bytes, and how many of them are free now.
    bfloat16 : bool
        Whether it multiplies bfloat16 numbers itself.
    """

    name: str
    memory: int
    free: int
    bfloat16: bool


def describe(device: "torch.device") -> Device:
    """What is known of a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    Device
    """
    import torch

    if device.type == "cuda":
        free, memory = torch.cuda.mem_get_info(device)
        # at compute capability 8.0 (2020) tensor cores began to take bfloat16
        return Device(
            torch.cuda.get_device_name(device), memory, free, torch.cuda.get_device_capability(device) >= (8, 0)
        )
    page, memory, free = 0, 0, 0
    if hasattr(os, "sysconf"):
        page = os.sysconf("SC_PAGE_SIZE")
        memory = page * os.sysconf("SC_PHYS_PAGES")
        free = page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else memory
    if device.type == "mps":
        return Device("Apple MPS", memory, free, True)
    return Device(f"the CPU, {torch.get_num_threads()} threads", memory, free, True)


def why_no_gpu() -> str:
    """Why this process computes on no GPU, with the remedy.

    Returns
    -------
    str
        One sentence; empty where it does.
    """
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return ""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} was built without CUDA; install a build with CUDA to use an NVIDIA GPU"
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU; unset it to use them"
    if _driver_sees_a_gpu():
        return (
            f"NVIDIA's driver sees a GPU, but PyTorch {torch.__version__} for CUDA {torch.version.cuda} cannot use it; "
            "update the driver, or install a build for the driver's CUDA"
        )
    return "no NVIDIA driver with a GPU was found (nvidia-smi would name it)"


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones.

    glibc hands blocks of a megabyte back to the system, so that every activation of a network is made of new pages that
    the kernel must first clear: a third of the processor time of embedding on the machine it was measured on.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # not in musl
        for parameter, value in _MALLOPT.items():
            libc.mallopt(parameter, value)


_MALLOPT = {-3: 2**25, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_THRESHOLD (its largest), M_TRIM_THRESHOLD, M_TOP_PAD; bytes


def send(tensor: "Tensor", device: "torch.device") -> "Tensor":
    """A tensor of the CPU on a device; on a GPU without waiting until it is there.

    Parameters
    ----------
    tensor : Tensor
        On the CPU; the caller does not change it afterwards.
    device : torch.device

    Returns
    -------
    Tensor
        `tensor` itself where the device is the CPU.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def autocast(device: "torch.device", precision: Precision) -> "torch.autocast":
    """A context in which networks multiply in a precision.

    Parameters
    ----------
    device : torch.device
    precision : {"float32", "bfloat16"}
        Weights stay in float32 either way.

    Returns
    -------
    torch.autocast
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


# Full memory


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory is full.

    Parameters
    ----------
    error : BaseException
        Of torch, or of a process that torch ran.

    Returns
    -------
    bool
    """
    import torch
    from torch.multiprocessing.spawn import ProcessRaisedException

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # MPS, the CPU's allocator, cuBLAS and cuDNN raise a plain RuntimeError, another process its traceback as text
    return isinstance(error, RuntimeError | ProcessRaisedException) and any(words in str(error) for words in _FULL)


_FULL = (
    "out of memory",
    "OutOfMemoryError",
    "can't allocate memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    # what is left when cuDNN found no memory to try its convolutions in
    "unable to find an engine",
    "Unable to find a valid cuDNN",
)


def fits(work: Callable[[], T], device: "torch.device") -> T | None:
    """What `work` returns, or None where it ran out of memory, which is then given back.

    Parameters
    ----------
    work : callable
    device : torch.device

    Returns
    -------
    T or None

    Raises
    ------
    Exception
        Whatever else `work` raises.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # after the error, whose traceback holds the tensors
    free_memory(device)
    return None


def on_a_gpu(work: "Callable[[torch.device], T]", galaxies: int, least: int) -> T | None:
    """What `work` returns on the first CUDA device; None where there is none, it is full, or galaxies are too few.

    Parameters
    ----------
    work : callable
    galaxies, least : int
        How many there are, and from how many on the way to a GPU pays.

    Returns
    -------
    T or None
    """
    device = accelerator() if galaxies >= least else None
    if device is None:
        return None
    found = fits(lambda: work(device), device)
    if found is None:
        log.warning("the memory of %s is full: %d galaxies are computed on the CPU", device, galaxies)
    return found


def free_memory(device: "torch.device") -> None:
    """Give the memory that torch keeps for later back to the device.

    Parameters
    ----------
    device : torch.device
    """
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def in_parts_that_fit(work: "Callable[[Tensor], Tensor]", batch: "Tensor", size: int) -> "tuple[Tensor, int]":
    """Apply `work` to a batch, in smaller and smaller parts where memory is full.

    Parameters
    ----------
    work : callable
        Maps (B, ...) to (B, ...), each row by itself.
    batch : Tensor of shape (N, ...)
    size : int
        Rows at once that fitted before.

    Returns
    -------
    result : Tensor of shape (N, ...)
    size : int
        Rows at once that fit.

    Raises
    ------
    MemoryError
        Where not even one row fits.
    """
    import torch

    done, found = 0, []
    while done < len(batch):
        part = batch[done : done + size]
        result = fits(functools.partial(work, part), batch.device)
        if result is not None:
            found.append(result)
            done += len(part)
        elif len(part) == 1:
            raise MemoryError(f"not even one image fits into the memory of {describe(batch.device).name}")
        else:
            size = (len(part) + 1) // 2
            log.warning("the memory of %s is full: %d images at once from here on", batch.device, size)
    return torch.cat(found), size


@contextlib.contextmanager
def fastest_convolutions(device: "torch.device") -> Iterator[None]:
    """Let cuDNN try its convolutions for images of one size; of no effect elsewhere.

    Parameters
    ----------
    device : torch.device
    """
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
