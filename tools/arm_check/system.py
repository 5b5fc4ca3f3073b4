"""The Arm system on disk: Debian's Python, the device's packages and our ExecuTorch engine, all for aarch64.

Nothing is mounted and nothing of it runs while it is made: packages are only unpacked. Every step is done once;
one that was cut short is done again from what it had fetched.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from arm_check.commands import COMPILER, find, need, run
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

ARCHITECTURE, MACHINE = "arm64", "aarch64"
INCLUDE = "python3,libstdc++6"
DEVICE_PACKAGES = ("numpy", "pynacl", "cffi", "pycparser")
ENGINE_PACKAGES = ("executorch",)
ENGINE_PARTS = ("executorch/lib/", "executorch/include/", "executorch-")
GLIBC_MINORS = range(17, 37)
"""Wheels are tagged with the oldest glibc they run on; Debian 12 has 2.36."""
PIP_DOWNLOAD = (
    *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"),
    *("--no-deps", "--only-binary=:all:"),
)
_READY = ".ready"


@dataclass(frozen=True, kw_only=True)
class System:
    """Where the parts lie.

    Attributes
    ----------
    folder : Path
        The cache; may be deleted at any time.
    """

    folder: Path

    @property
    def root(self) -> Path:
        """File tree of the Arm system."""
        return self.folder / "root"

    @property
    def engine(self) -> Path:
        """Our ExecuTorch engine for Arm."""
        return self.folder / "engine"

    @property
    def python(self) -> Path:
        """Its Python; only after `make_root`."""
        found = sorted((self.root / "usr" / "bin").glob("python3.*[0-9]"))
        if not found:
            raise PhysioEdgeError(f"no Python in {self.root}", "a complete system", f"Delete {self.root}; run again.")
        return found[-1]

    def site(self, package: str, wanted: str) -> Path:
        """Folder of one package, for PYTHONPATH."""
        return self.folder / "site" / f"{package}-{wanted}"


@dataclass(frozen=True, kw_only=True)
class Debian:
    """Which Debian to unpack.

    Attributes
    ----------
    suite : str
        Release, such as ``bookworm``.
    mirror : str
        Where its packages come from; empty: the one this machine uses, or else debootstrap's own.
    """

    suite: str
    mirror: str = ""


def root_tools(system: System) -> list[str]:
    """What `make_root` still needs; nothing where the root is there."""
    return [] if (system.root / _READY).exists() else ["debootstrap", "dpkg", *_as_root()]


def _as_root() -> list[str]:
    """What to put before debootstrap, which insists on rights that unpacking does not need."""
    return [] if os.geteuid() == 0 else ["fakeroot"]


def make_root(system: System, debian: Debian) -> bool:
    """Unpack Debian's Python for Arm; False where it is there already.

    Raises
    ------
    MissingExtra
        A tool is missing.
    PhysioEdgeError
        A package could not be fetched or unpacked.
    """
    if (system.root / _READY).exists():
        return False
    need(root_tools(system))
    part, fetched = system.folder / "root.part", system.folder / "fetched"
    shutil.rmtree(part, ignore_errors=True)  # debootstrap refuses a tree that it left half unpacked
    fetched.mkdir(exist_ok=True)
    again = f"Run again to go on; if that does not help, delete {fetched}, or choose --suite and --mirror."
    mirror = debian.mirror or mirror_of_this_machine(debian.suite)
    options = [f"--arch={ARCHITECTURE}", "--foreign", "--variant=minbase", f"--include={INCLUDE}"]
    options.append(f"--cache-dir={fetched}")
    run(
        [
            *_as_root(),
            find("debootstrap") or "debootstrap",
            *options,
            debian.suite,
            part,
            *([mirror] if mirror else []),
        ],
        what=f"debootstrap of {debian.suite} for {ARCHITECTURE}",
        do=again,
        log=system.folder / "debootstrap.log",
    )
    for package in sorted((part / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        run(["dpkg", "-x", package, part], what=f"unpacking of {package.name}", do=again)
    shutil.rmtree(part / "var" / "cache" / "apt" / "archives")
    (part / _READY).touch()
    shutil.rmtree(system.root, ignore_errors=True)
    part.replace(system.root)
    shutil.rmtree(fetched)
    return True


def make_folder(system: System) -> None:
    """The cache folder, which git is told to pass over."""
    (system.folder / "site").mkdir(parents=True, exist_ok=True)
    (system.folder / ".gitignore").write_text("*\n", encoding="ascii")


def mirror_of_this_machine(suite: str) -> str:
    """The mirror apt uses here for a suite; empty where there is none or no apt."""
    if find("apt-get") is None:
        return ""
    wanted = ["$(REPO_URI)", "$(RELEASE)", "$(COMPONENT)"]
    listed = run(
        ["apt-get", "indextargets", "--format", " ".join(wanted), "Created-By: Packages"],
        what="apt-get's list of mirrors",
        do="Name one with --mirror.",
    )
    rows = [line.split() for line in listed.splitlines()]
    return next((row[0] for row in rows if row[1:] == [suite, "main"]), "")


def suite_of_this_machine() -> str:
    """Release of this machine's Debian; Debian 12 elsewhere."""
    info = Path("/etc/os-release")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return values.get("VERSION_CODENAME", "bookworm").strip('"') if values.get("ID") == "debian" else "bookworm"


def make_site(system: System, package: str, wanted: str = "", parts: tuple[str, ...] = ("",)) -> Path:
    """Fetch a package's wheel for Arm and unpack it.

    Parameters
    ----------
    wanted : str
        Version; by default the one installed here, so that both sides run the same release.
    parts : tuple of str
        Beginnings of the names to unpack.

    Raises
    ------
    MissingExtra
        The package is not installed here, so there is no version to go by.
    PhysioEdgeError
        The package index has no such wheel for this Python, or cannot be reached.
    """
    wanted = wanted or installed(package)
    target = system.site(package, wanted)
    if (target / _READY).exists():
        return target
    number = system.python.name.removeprefix("python")
    wheels = target.with_name(f"{target.name}.wheels")
    tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in GLIBC_MINORS)]
    platforms = [f"--platform={tag}_{MACHINE}" for tag in tags]
    run(
        [*PIP_DOWNLOAD, *platforms, f"--python-version={number}", "--dest", wheels, f"{package}=={wanted}"],
        what=f"download of {package} {wanted} for {MACHINE} and Python {number}",
        do="Check the connection to the package index, or whether it has such a wheel.",
    )
    unpack(next(wheels.glob("*.whl")), target, parts)
    shutil.rmtree(wheels)
    return target


def unpack(wheel: Path, target: Path, parts: tuple[str, ...] = ("",)) -> None:
    """Unpack the files of a wheel whose names begin with one of `parts`; whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name, zipfile.ZipFile(wheel) as archive:
        work = Path(name) / "site"
        for entry in archive.namelist():
            if entry.startswith(parts):
                archive.extract(entry, work)
        (work / _READY).touch()
        shutil.rmtree(target, ignore_errors=True)
        work.replace(target)


def installed(package: str) -> str:
    """Version of a package in this environment.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"no {package} here", "the same packages on both sides", "make test installs all of them."
        ) from error


def make_engine(system: System) -> Path:
    """Our ExecuTorch engine, built here for Arm against the libraries of the Arm wheel.

    Raises
    ------
    MissingExtra, PhysioEdgeError, ExportError
        The cross compiler or the wheel is missing, or compiling failed.
    """
    from physioedge_export.engine_build import build_engine, is_current

    site = make_site(system, ENGINE_PACKAGES[0], parts=ENGINE_PARTS)
    if not is_current(system.engine):
        need([COMPILER])
        build_engine(system.engine, compiler=COMPILER, package=site / "executorch", machine=MACHINE)
    return system.engine
