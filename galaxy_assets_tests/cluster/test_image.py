"""The image's build: its steps are taken here, on small wheels of the test in the place of the lock's.

The whole of it, with the lock's own wheels: `python -m galaxy_assets_tests.cluster.dockerfile cuda FOLDER`.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from galaxy_assets_tests.cluster.dockerfile import ROOT, build, sent, steps

WHEELS = ("torch", "torchvision", "triton", "nvidia-nvtx", "cuda-toolkit", "torchmetrics", "astropy")


def write_wheel(folder: Path, name: str, version: str) -> tuple[str, str]:
    """An empty package; its requirement and digest."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{module}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}=={version}", hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def context(tmp_path, monkeypatch) -> Path:
    """What docker is sent, with a lock of small wheels that lie in a folder, and CPU builds of two of them."""
    context = tmp_path / "context"
    (context / "packaging/wheels").mkdir(parents=True)
    for name in ("packaging/install.sh", "packaging/Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, context / name)
    lock = [write_wheel(tmp_path / "index", name, "1.0") for name in WHEELS]
    text = "".join(f"{wanted} \\\n    --hash=sha256:{digest}\n" for wanted, digest in lock)
    (context / "requirements-cluster.lock").write_text(text)
    built = [write_wheel(context / "packaging/wheels", name, "1.0+cpu") for name in WHEELS[:2]]
    (context / "packaging/wheels/requirements.txt").write_text(
        "".join(f"{wanted} --hash=sha256:{digest}\n" for wanted, digest in built)
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return context


def install(context: Path, variant: str, environment: Path) -> dict[str, str]:
    """Installed package -> version."""
    command = ["sh", context / "packaging/install.sh", environment, variant]
    subprocess.run(command, cwd=context, check=True, capture_output=True, text=True)
    freeze = [environment / "bin/python", "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.split()
    found = dict(line.split("==") for line in listed)
    return {name: version for name, version in found.items() if name in WHEELS}


def test_cuda_is_the_lock_and_cpu_has_no_library_of_cuda(context, tmp_path):
    assert install(context, "cuda", tmp_path / "cuda") == dict.fromkeys(WHEELS, "1.0")
    cpu = {"torch": "1.0+cpu", "torchvision": "1.0+cpu", "torchmetrics": "1.0", "astropy": "1.0"}
    assert install(context, "cpu", tmp_path / "cpu") == cpu


def test_a_wheel_with_another_digest_is_refused(context, tmp_path):
    with (context / "packaging/wheels/torch-1.0+cpu-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"something else")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        install(context, "cpu", tmp_path / "app")
    assert "DO NOT MATCH THE HASHES" in refused.value.stderr


def test_a_cpu_build_of_another_version_and_another_variant_are_refused(context, tmp_path):
    wheels = context / "packaging/wheels/requirements.txt"
    wheels.write_text(wheels.read_text().replace("torchvision==1.0+cpu", "torchvision==1.1+cpu"))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        install(context, "cpu", tmp_path / "app")
    assert "must name torchvision==1.0" in refused.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as refused:
        install(context, "gpu", tmp_path / "app")
    assert "cuda or cpu" in refused.value.stderr


def test_the_package_is_built_of_what_docker_is_sent_and_runs(tmp_path, monkeypatch):
    """The steps after the lock, in an environment that has the lock's packages from this one."""
    context = tmp_path / "context"
    for name in sorted(sent(ROOT)):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        if (ROOT / name).exists():
            context.mkdir(exist_ok=True)
            copy(ROOT / name, context / name)
    shutil.copy(ROOT / ".dockerignore", context)
    here = " ".join(path for path in sys.path if path.endswith("site-packages"))
    (context / "packaging/install.sh").write_text(
        f'{sys.executable} -m venv --without-pip "$1"\n'
        f'printf "%s\\n" {here} > "$("$1/bin/python" -c "import site; print(site.getsitepackages()[0])")/rest.pth"\n'
    )
    monkeypatch.delenv("PYTHONPATH", raising=False)
    app = build(context, "cuda", tmp_path / "made")
    asked = [app / "bin/python", "-c", "import galaxy_assets; print(galaxy_assets.__file__)"]
    where = subprocess.run(asked, cwd="/", check=True, capture_output=True, text=True).stdout
    assert where.startswith(str(app))


def test_the_image_runs_as_nobody_in_particular_and_names_no_index():
    text = (ROOT / "packaging/Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert [words for instruction, words in steps(text, "build") if instruction == "USER"] == []
    files = [path for path in (ROOT / "packaging").rglob("*") if path.is_file()]
    files += [ROOT / "requirements-cluster.lock", ROOT / "dagster.cluster.yaml"]
    for path in files:
        assert not re.search(r"https?://(?!galaxy-assets-head-svc|\$head|<head>)", path.read_text()), path
