"""Build a Debian package out of this tree: `make deb`, or build_deb.py [--output DIR] [--fast].

The package has Python and its standard library from Debian, and every other library within it,
under /usr/lib/sacip-tun: Debian's own are too old. See docs/decisions/0084-deb.md.
"""

import argparse
import compileall
import gzip
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from completion import completion
from manual import manual
from manual_conf import manual_conf

from sacip_tun import __version__

TREE = Path(__file__).parents[1]
HERE = Path(__file__).parent
PYTHON = f"python3.{sys.version_info.minor}"
# Where everything is that is not for others to find.
PRIVATE = Path("usr/lib/sacip-tun")
LIBRARIES = PRIVATE / "lib" / PYTHON / "site-packages"
# What no tunnel needs of the libraries: a third of their bytes.
USELESS = (
    *("bin", "share", "numpy/**/tests", "numpy/f2py", "numpy/_core/include", "numpy/_core/lib"),
    *("uvloop/loop.c", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.h"),
)
INSTALLED = {
    "distribution/systemd/sacip-tun@.service": "usr/lib/systemd/system",
    "distribution/tmpfiles.d/sacip-tun.conf": "usr/lib/tmpfiles.d",
    "distribution/NetworkManager/sacip-tun.conf": "usr/lib/NetworkManager/conf.d",
    "distribution/udev/85-sacip-tun.rules": "usr/lib/udev/rules.d",
    "README.md": "usr/share/doc/sacip-tun",
    "CHANGELOG.md": "usr/share/doc/sacip-tun",
    "docs/events.md": "usr/share/doc/sacip-tun",
    "configs": "usr/share/doc/sacip-tun/examples",
}
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/sacip-tun",
    "zsh": "usr/share/zsh/vendor-completions/_sacip-tun",
    "fish": "usr/share/fish/vendor_completions.d/sacip-tun.fish",
}
SCRIPT = """\
#!/usr/lib/sacip-tun/bin/python3 -I
from {module} import program
program()
"""
CONTROL = """\
Package: sacip-tun
Version: {version}
Architecture: {architecture}
Maintainer: the sacip-tun authors <sacip-tun@localhost>
Installed-Size: {size}
Depends: {python} (>= {python_version}~), python3 (>= {python_version}~), libc6 (>= {libc})
Recommends: nftables
Suggests: wireguard-tools, iproute2
Section: net
Priority: optional
Description: VPN tunnel that does not notice when your address changes
 It speaks the WireGuard protocol with every WireGuard peer, takes wg-quick's
 files unchanged, and keeps connections inside the tunnel alive while the
 addresses outside change.
"""
# glibc of the platform tags of wheels that have no number in them (PEP 600).
LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def main() -> None:
    """Build it and print where it is."""
    parser = argparse.ArgumentParser(description="Build the Debian package of this tree.")
    parser.add_argument("--output", type=Path, default=TREE / "build")
    parser.add_argument("--fast", action="store_true", help="compress little: for tests")
    parser.add_argument("--version", default=__version__, help="the package's, else the program's")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sacip-tun-deb-") as directory:
        root = Path(directory) / "root"
        libraries = root / LIBRARIES
        _install_libraries(libraries, Path(directory))
        _write_programs(root)
        _write_texts(root)
        _write_control(root, libraries, options.version)
        _build(root, options)


def _install_libraries(libraries: Path, directory: Path) -> None:
    source = directory / "source"
    # A copy, since the build leaves files in what it builds.
    shutil.copytree(TREE / "sacip_tun", source / "sacip_tun", ignore=_is_cache)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-warn-conflicts",
    ]
    _run(*command, "--disable-pip-version-check", "--target", libraries, source)
    for pattern in USELESS:
        for path in list(libraries.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    _compile(libraries)


def _is_cache(_directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def _compile(libraries: Path) -> None:
    """Compile once and for all: dpkg knows every file, and nothing is to be written later."""
    where = "/" / LIBRARIES
    sys.pycache_prefix = None  # beside the modules, whatever the builder's environment says
    compileall.compile_dir(
        libraries,
        quiet=2,
        stripdir=str(libraries),
        prependdir=str(where),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _write_programs(root: Path) -> None:
    programs = root / PRIVATE / "bin"
    programs.mkdir()
    # What makes a virtual environment (PEP 405): its interpreter, and this file beside it.
    (programs / "python3").symlink_to(f"/usr/bin/{PYTHON}")
    (root / PRIVATE / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\n"
    )
    found = root / "usr/bin"
    found.mkdir()
    for name, module in (("sacip-tun", "sacip_tun.cli"), ("sacip-wg", "sacip_tun.cli.wg")):
        script = programs / name
        script.write_text(SCRIPT.format(module=module))
        script.chmod(0o755)
        (found / name).symlink_to(Path("../lib/sacip-tun/bin") / name)


def _write_texts(root: Path) -> None:
    for name, directory in INSTALLED.items():
        target = root / directory
        if (TREE / name).is_dir():
            shutil.copytree(TREE / name, target)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, target)
    shutil.copy(TREE / "LICENSE", root / "usr/share/doc/sacip-tun/copyright")
    pages = {"sacip-tun.8": manual(), "sacip-tun.conf.5": manual_conf()}
    pages["sacip-wg.8"] = (HERE / "man/sacip-wg.8").read_text()
    for name, text in pages.items():
        path = root / f"usr/share/man/man{name[-1]}" / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    for shell, name in COMPLETIONS.items():
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(completion(shell))
    (root / "etc/sacip-tun").mkdir(parents=True)


def _write_control(root: Path, libraries: Path, version: str) -> None:
    control = root / "DEBIAN"
    control.mkdir()
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    control.joinpath("control").write_text(
        CONTROL.format(
            version=version,
            architecture=_run("dpkg", "--print-architecture").strip(),
            size=sum(path.stat().st_size for path in files) // 1024,
            python=PYTHON,
            python_version=PYTHON.removeprefix("python"),
            libc=".".join(map(str, max(_libc_versions(libraries)))),
        )
    )
    sums = (
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"  # noqa: S324 - dpkg's format
        for path in sorted(files)
    )
    control.joinpath("md5sums").write_text("".join(sums))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(HERE / "deb" / name, control)


def _libc_versions(libraries: Path) -> Iterator[tuple[int, ...]]:
    """Yield what each library needs of libc: what its wheel says, or what it was built with."""
    for path in libraries.glob("*.dist-info/WHEEL"):
        tags = re.findall(r"(?m)^Tag: \S+-(\S+)$", path.read_text())
        found = [tuple(map(int, pair)) for pair in re.findall(r"manylinux_(\d+)_(\d+)", str(tags))]
        found += [number for name, number in LEGACY.items() if name in str(tags)]
        if found:
            yield min(found)
        elif not all(tag == "any" for tag in tags):
            _, number = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
            yield tuple(map(int, number.split(".")))


def _build(root: Path, options: argparse.Namespace) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
    (root / "etc/sacip-tun").chmod(0o700)
    # Times of the last commit: the same tree gives the same package, libraries being the same.
    when = _run("git", "-C", TREE, "log", "-1", "--format=%ct", check=False).strip() or "0"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": when}
    compression = ["-Zgzip", "-z1"] if options.fast else ["-Zxz"]
    command = ["dpkg-deb", "--root-owner-group", *compression, "--build", root, options.output]
    print(_run(*command, environment=environment).rpartition("'../")[2].strip())


def _run(*command: object, check: bool = True, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, env=environment
    )
    if check and done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}".strip())
    return done.stdout


if __name__ == "__main__":
    main()
