"""Locks: between threads, between processes, and on file systems that have none or keep them to one machine."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from galaxy_assets.storage import locks
from galaxy_assets.storage.locks import NoLocks, held, holds_here_alone, is_held
from galaxy_assets.storage.mounts import names_of

HOLDING = """
import sys
import threading
from pathlib import Path
from galaxy_assets.storage.locks import held
with held(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""
MOUNTS = """\
21 1 0:20 / / rw - ext4 /dev/sda1 rw
30 21 0:40 / /scratch rw,relatime - lustre 10.0.0.1@tcp:/fs rw,{lustre}
31 21 0:41 / /home rw,relatime - nfs4 server:/home rw,vers=4.2,local_lock={nfs}
32 21 0:42 / /home/my\\040disk rw - ext4 /dev/sdb1 rw
"""


def other(path: Path, how: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_lock_excludes_other_processes_and_other_files_of_this_one_and_ends_with_its_process(tmp_path):
    path = tmp_path / "folder/.lock"
    assert not is_held(path)
    process = other(path, "alone")
    assert is_held(path)
    with pytest.raises(BlockingIOError), held(path, wait=False):
        pass
    process.kill()
    process.wait()
    with held(path, wait=False):
        assert is_held(path)  # asked in the same process, which does not end it
        assert is_held(path)
        with pytest.raises(BlockingIOError), held(path, wait=False):
            pass
    assert not is_held(path)


def test_several_share_a_lock_that_nobody_holds_alone(tmp_path):
    path = tmp_path / ".lock"
    process = other(path, "shared")
    with held(path, shared=True, wait=False):
        assert not is_held(path)
    with pytest.raises(BlockingIOError), held(path, wait=False):
        pass
    process.communicate()
    with held(path, wait=False), pytest.raises(BlockingIOError), held(path, shared=True, wait=False):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_with_the_remedy(tmp_path, monkeypatch, number):
    def refuse(descriptor, how):
        raise OSError(number, "no")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)  # no such mount can be made here
    with pytest.raises(NoLocks, match="Lustre.*option `flock`.*NFS 4") as raised, held(tmp_path / ".lock"):
        pass
    assert raised.value.errno == number


def test_a_file_is_opened_so_that_nfs_grants_both_kinds(tmp_path, monkeypatch):
    modes = []
    take = locks.fcntl.flock

    def as_nfs(descriptor, how):
        modes.append(locks.fcntl.fcntl(descriptor, locks.fcntl.F_GETFL) & 3)
        take(descriptor, how)

    monkeypatch.setattr(locks.fcntl, "flock", as_nfs)
    for shared in (True, False):
        with held(tmp_path / ".lock", shared=shared):
            pass
    assert modes == [2, 2]  # O_RDWR


@pytest.mark.parametrize(
    ("folder", "lustre", "nfs", "told"),
    [
        ("/scratch/data/lake", "flock", "none", None),
        ("/scratch/data/lake", "localflock", "none", "mount it with the option `flock`"),
        ("/home/ann", "flock", "none", None),
        ("/home/ann", "flock", "all", "local_lock=none"),
        ("/home/my disk/data", "flock", "all", None),
        ("/elsewhere", "localflock", "all", None),
    ],
)
def test_a_mount_that_keeps_locks_to_one_machine_is_known(folder, lustre, nfs, told):
    why = holds_here_alone(Path(folder), MOUNTS.format(lustre=lustre, nfs=nfs))
    assert why is None if told is None else told in str(why)


def test_a_data_folder_that_is_mounted_twice_has_a_name_in_common_and_another_has_none(tmp_path):
    here, there, other = (tmp_path / name for name in ("here", "there", "other"))
    for folder in (here, other):
        folder.mkdir()
    there.symlink_to(here)
    if not subprocess.run(["mount", "--bind", str(here), str(other)], capture_output=True).returncode:
        assert not set(names_of(here)[:1]) & set(names_of(other)) and set(names_of(here)) & set(names_of(other))
        subprocess.run(["umount", str(other)], check=True)
    assert names_of(here)[0] == str(here) and names_of(there) == names_of(here)
    assert not set(names_of(here)) & set(names_of(other))
    assert names_of(tmp_path / "nowhere") == [str(tmp_path / "nowhere")]
    served = [
        names_of(here, f"21 1 0:20 / / rw - ext4 /dev/sda1 rw\n30 21 0:40 {root} {at} rw - nfs4 {source} rw\n")[2:]
        for root, at, source in (
            ("/", tmp_path, "nas:/export/data"),
            ("/data", tmp_path, "nas:/export/"),
            ("/", here, "nas:/export/data/here"),
            ("/", here, "nas:/export/data/there"),
            ("/here", here, "/dev/disk/by-path/pci-0000:00:1f"),
        )
    ]
    assert served == [["nas:/export/data/here"]] * 3 + [["nas:/export/data/there"], []]


def test_who_only_looks_at_a_lock_keeps_nobody_from_taking_it(tmp_path):
    path = tmp_path / ".lock"
    process = other(path, "shared")  # as a look holds it, for a moment
    threading.Timer(0.3, process.kill).start()
    with held(path, wait=False):
        pass
    process.wait()
