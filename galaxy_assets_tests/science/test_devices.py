"""Which devices are used, why no GPU is, and what happens when memory is full."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from galaxy_assets.science.devices import (
    accelerator,
    autocast,
    choose_devices,
    describe,
    fits,
    in_parts_that_fit,
    is_out_of_memory,
    send,
    why_no_gpu,
)

CPU = torch.device("cpu")
NO_GPU = not (torch.cuda.is_available() or torch.backends.mps.is_available())


def out_of_room() -> torch.Tensor:
    return torch.empty(2**58)


def test_the_devices_are_those_torch_shows():
    devices = choose_devices()
    assert devices == [CPU] if NO_GPU else devices[0].type in ("cuda", "mps")
    found = describe(CPU)
    assert 0 < found.free <= found.memory and "threads" in found.name
    assert (accelerator() is not None) == torch.cuda.is_available()


def test_float32_is_float32_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3, 8))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    assert choose_devices() == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert describe(torch.device("cuda", 1)).bfloat16 is False


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_asking_for_an_accelerator_does_not_import_torch():
    code = "import sys; from galaxy_assets.science.devices import accelerator as a; print(a(), 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "False"]


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_why_there_is_no_gpu_is_said(monkeypatch):
    assert "NVIDIA driver" in why_no_gpu() or "without CUDA" in why_no_gpu()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert why_no_gpu().startswith("CUDA_VISIBLE_DEVICES='' hides every GPU")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in why_no_gpu()


def test_a_full_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as real:
        out_of_room()
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert is_out_of_memory(RuntimeError("GET was unable to find an engine to execute this computation"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_work_that_does_not_fit_gives_nothing_and_other_errors_pass():
    assert fits(out_of_room, CPU) is None
    assert fits(lambda: torch.ones(2), CPU).tolist() == [1, 1]  # pyright: ignore
    with pytest.raises(RuntimeError, match="shapes"):
        fits(lambda: torch.ones(2, 3) @ torch.ones(2, 3), CPU)


def test_a_batch_is_halved_until_it_fits_and_every_row_comes_once(caplog):
    asked: list[int] = []

    def work(part: torch.Tensor) -> torch.Tensor:
        asked.append(len(part))
        return 2 * part if len(part) <= 3 else out_of_room()

    with caplog.at_level(logging.WARNING):
        found, size = in_parts_that_fit(work, torch.arange(11.0), 8)
    assert found.tolist() == [2 * i for i in range(11)]
    assert (size, asked) == (2, [8, 4, 2, 2, 2, 2, 2, 1])
    assert [record.getMessage() for record in caplog.records] == [
        f"the memory of cpu is full: {left} images at once from here on" for left in (4, 2)
    ]
    with pytest.raises(MemoryError, match="not even one image"):
        in_parts_that_fit(lambda part: out_of_room(), torch.arange(3.0), 2)


def test_sending_and_precision_on_the_cpu():
    tensor = torch.ones(3)
    assert send(tensor, CPU) is tensor
    with autocast(CPU, "bfloat16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(CPU, "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_cuda_visible_devices_is_torchs_own():
    code = "from galaxy_assets.science.devices import choose_devices; print(choose_devices()[0].type)"
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, check=True)
    assert found.stdout.strip() in ("cpu", "mps")
