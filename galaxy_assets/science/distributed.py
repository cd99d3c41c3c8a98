"""One training on several devices, a process each, on one machine or on several, with the same result as on one.

Belongs here: the processes, and batch normalisation over the whole batch. Does not belong here: what they compute
(`byol`), and how the processes of several hosts find each other (`torchrun`). Gradients are averaged once a step,
since a step may add them up in parts, which torch's own `DistributedDataParallel` would average one by one; torch's
synchronised batch normalisation runs on GPUs alone and could not be tested on a CPU.
"""

import copy
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.modules.batchnorm import _BatchNorm

from galaxy_assets.science import torchrun
from galaxy_assets.science.devices import exact_float32
from galaxy_assets.settings.printing import PrintableError, logger

log = logger(__name__)

_LAST_WORDS = 2.0  # seconds in which a process says why it failed


@dataclass(frozen=True)
class Share:
    """The part of each batch that one process has. The first process writes and reports.

    Attributes
    ----------
    rank : int
        Number of the process, from 0.
    processes : int
        Into how many equal parts a batch is cut.
    """

    rank: int = 0
    processes: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """Rows of a batch that belong to this process.

        Parameters
        ----------
        batch : Tensor of shape (B, ...)
            All processes hold it; B must be a multiple of `processes`.

        Returns
        -------
        Tensor of shape (B / processes, ...)
        """
        return batch.chunk(self.processes)[self.rank]

    def of_each(self, order: Tensor, batch_size: int) -> Tensor:
        """Rows of this process in every batch that `order` fills, one batch after the other.

        Parameters
        ----------
        order : Tensor of shape (N,)
            All processes hold it.
        batch_size : int
            A multiple of `processes`.

        Returns
        -------
        Tensor of shape (N // batch_size * batch_size / processes,)
        """
        whole = order[: len(order) // batch_size * batch_size]
        return whole.reshape(-1, self.processes, batch_size // self.processes)[:, self.rank].flatten()

    def mean_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its mean over the processes.

        Parameters
        ----------
        module : nn.Module
            Each process has gradients of the same parameters.
        """
        if self.processes > 1:
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            together = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
            for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def mean(self, value: Tensor) -> Tensor:
        """Mean of numbers over the processes.

        Parameters
        ----------
        value : Tensor
            This process's numbers.

        Returns
        -------
        Tensor
        """
        if self.processes > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.processes
        return value

    def check_same(self, words: str, device: torch.device) -> None:
        """Check that every process says the same.

        Parameters
        ----------
        words : str
            What decides the training.
        device : torch.device
            This process's.

        Raises
        ------
        ValueError
            In every process, where one says something else.
        """
        if self.processes > 1:
            number = int(hashlib.sha256(words.encode()).hexdigest()[:15], 16)
            ends = torch.tensor([number, -number], device=device)
            dist.all_reduce(ends, dist.ReduceOp.MAX)
            if int(ends[0]) != -int(ends[1]):
                raise ValueError(
                    "the processes do not train the same: training set, recipe, start weights or state differ; is the "
                    "data folder the same, and the package of one version, on every host?"
                )


ALONE = Share()
"""The share of a process that has whole batches."""


@contextmanager
def processes(devices: Sequence[torch.device], work: Callable[..., Any], arguments: tuple) -> Iterator[Share]:
    """Join this process, on the first device, with a new process on each other device.

    On leaving, the others are waited for, or ended where one of them or this process failed. They meet through a file
    and talk over the loopback interface. One device starts nothing.

    Parameters
    ----------
    devices : sequence of torch.device
    work : callable
        Each new process calls `work(share, device, *arguments)`.
    arguments : tuple
        Are pickled; tensors in them must be on the CPU.

    Yields
    ------
    Share
        This process's.
    """
    if len(devices) == 1:
        yield Share()
        return
    with tempfile.TemporaryDirectory(prefix="galaxy_assets_") as folder:
        meeting = Path(folder) / "meeting"
        others = start_processes(
            _begin, (devices, meeting, work, arguments), nprocs=len(devices) - 1, join=False, start_method="spawn"
        )
        assert others is not None
        try:
            # one that fails before they meet would be waited for in vain
            while len(list(Path(folder).glob("ready_*"))) < len(devices) - 1:
                others.join(timeout=0.05)
            _meet(meeting, 0, devices)
            yield Share(0, len(devices))
            while not others.join():
                pass
        except BaseException as error:
            try:
                if isinstance(error, RuntimeError):
                    others.join(timeout=_LAST_WORDS)  # raises what another one failed with, which this one only felt
            finally:
                for process in others.processes:
                    process.kill()  # one that waits for a partner hears no gentler signal; none writes anything
                    process.join()
            raise
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()


def _begin(
    index: int, devices: Sequence[torch.device], meeting: Path, work: Callable[..., Any], arguments: tuple
) -> None:
    rank = index + 1
    torch.set_num_threads(max(1, torch.get_num_threads() // len(devices)))
    # torch sends tensors as shared memory: without a copy both processes would train the same weights in place
    arguments = copy.deepcopy(arguments)
    exact_float32()
    meeting.with_name(f"ready_{rank}").touch()
    _meet(meeting, rank, devices)
    work(Share(rank, len(devices)), devices[rank], *arguments)
    dist.destroy_process_group()  # not after an error: NCCL would wait for the others


def _meet(meeting: Path, rank: int, devices: Sequence[torch.device]) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    cuda = devices[rank].type == "cuda"
    if cuda:
        torch.cuda.set_device(devices[rank])
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=meeting.as_uri(),
        rank=rank,
        world_size=len(devices),
        timeout=torchrun.PATIENCE,
    )


def local_device(devices: Sequence[torch.device]) -> torch.device:
    """The device of this process, of those that its host has.

    Parameters
    ----------
    devices : sequence of torch.device
        Of this host.

    Returns
    -------
    torch.device
        The one of torchrun's LOCAL_RANK; a CPU serves any number of processes.

    Raises
    ------
    PrintableError
        Where a host has more processes than GPUs.
    """
    place = torchrun.place()
    if place is None or devices[0].type == "cpu":
        return devices[0]
    if place.local_rank >= len(devices):
        raise PrintableError(
            f"this host has {len(devices)} GPUs and {place.local_processes} processes or more; start one for each GPU "
            "(`torchrun --nproc-per-node gpu`)"
        )
    return devices[place.local_rank]


@contextmanager
def joined(devices: Sequence[torch.device]) -> Iterator[Share]:
    """Join this process with the others that torchrun started, on this host and on others.

    Every process enters with its own host's devices and computes on `local_device` of them: by NCCL on GPUs, by gloo
    on CPUs. All leave together, when the last one is done. A process that fails tells the others, and one that is
    killed breaks their connection: all of them leave with an error, and can join anew unless one is gone for good.
    Without torchrun's variables in the environment nothing is joined.

    Parameters
    ----------
    devices : sequence of torch.device
        Of this host.

    Yields
    ------
    Share
        This process's.

    Raises
    ------
    PartnerLost
        Where another process fails or is gone, with what is known of it.
    """
    place = torchrun.place()
    if place is None:
        yield Share()
        return
    meeting, cuda = torchrun.Meeting.next(place), (device := local_device(devices)).type == "cuda"
    if (name := torchrun.interface(place)) is not None:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, name)
    if cuda:
        torch.cuda.set_device(device)
        if place.local_processes < len(devices):
            log.warning("this host has %d GPUs and %d processes: others idle", len(devices), place.local_processes)
    try:
        meeting.wait_for_all("here")
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=meeting.store,
            rank=place.rank,
            world_size=place.processes,
            timeout=torchrun.PATIENCE,
        )
        yield Share(place.rank, place.processes)
        meeting.wait_for_all("done")
        dist.destroy_process_group()
    except BaseException as error:
        told = meeting.failed(error)
        if dist.is_initialized():
            _leave(cuda)
        if told is error:
            raise
        raise told from error


def _leave(cuda: bool) -> None:
    """Leave a group of which a process failed; NCCL would wait for it."""
    if cuda:
        dist.distributed_c10d._abort_process_group()
    else:
        dist.destroy_process_group()


def synchronise(module: nn.Module) -> None:
    """Let every batch normalisation in training mode take its mean and variance over all processes' rows.

    The modules, their parameters and the names in their state stay as they are, and without a process group (when the
    training is over) they normalise as before.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.forward = partial(_normalise, part)  # a method would be looked for in the class by pickle


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _normalise(self: _BatchNorm, x: Tensor) -> Tensor:
    if not (self.training and dist.is_initialized()):
        return type(self).forward(self, x)
    axes, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    count = x.numel() // x.shape[1] * dist.get_world_size()
    mean = _Sum.apply(values.sum(axes)) / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    if self.track_running_stats:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
    scale = torch.rsqrt(variance + self.eps) * self.weight
    normal = (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)
    # timm keeps dropout and activation inside its own batch normalisation
    for after in ("drop", "act"):
        if hasattr(self, after):
            normal = getattr(self, after)(normal)
    return normal
