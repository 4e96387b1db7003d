"""The lab's own Asterisk: unpacked from Debian's archive into a private, cached directory, beside the host's packages.

Nothing is installed, mounted or chrooted: apt fetches and verifies with a configuration of its own, `dpkg-deb -x`
unpacks, and the root's own dynamic loader runs the binary (docs/decisions/0001-asterisk-without-chroot.md).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dialer.errors import LabError

SUITES = ("forky", "testing", "sid")
"""Tried in this order; the first whose Asterisk is new enough is taken."""
NEWEST_NEEDED = (22, 10)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CACHE_VARIABLE = "DIALER_CACHE_DIR"

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AsteriskRoot:
    """An unpacked Asterisk and what it takes to run it."""

    path: Path
    version: str

    @property
    def libraries(self) -> Path:
        """The directory of the architecture's shared libraries."""
        return next(self.path.glob("usr/lib/*-linux-gnu*/asterisk")).parent

    @property
    def modules(self) -> Path:
        return self.libraries / "asterisk" / "modules"

    @property
    def data(self) -> Path:
        """Asterisk's data directory; res_pjsip needs the documentation that lies in it."""
        return self.path / "usr/share/asterisk"

    def command(self, config: Path, *arguments: str) -> list[str]:
        """The argv that runs this Asterisk with the given asterisk.conf, by the root's own loader and libraries."""
        loader = next(iter(sorted(self.path.glob("usr/lib*/ld-linux*.so.*"))))
        binary = self.path / "usr/sbin/asterisk"
        libraries = ["--library-path", str(self.libraries), str(binary)]
        return [str(loader), "--argv0", "asterisk", *libraries, "-C", str(config), *arguments]


def ensure_root(progress: Progress) -> AsteriskRoot:
    """The cached root, built first when there is none. `progress` hears a line per step, nothing when all is there.

    Raises LabError. Uses no network once cached.
    """
    home = cache_dir()
    cached = _cached(home)
    return cached if cached else _build(home, progress)


def cache_dir() -> Path:
    """Where roots are kept: $DIALER_CACHE_DIR, /var/cache/dialer for root, else the user's own cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/dialer")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dialer"


def sources(text: str, *, deb822: bool) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """URI, suites and signing key of each entry of an apt sources file that offers binary packages of `main`."""
    return _deb822_sources(text) if deb822 else _one_line_sources(text)


def find_mirror(etc: Path = Path("/etc/apt"), codename: str | None = None) -> str:
    """The Debian archive that the host's apt uses: the first entry that serves the host's own release."""
    codename = codename or _codename()
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix not in {".list", ".sources"} or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        for uri, suites, signed_by in sources(text, deb822=file.suffix == ".sources"):
            if codename in suites and (not signed_by or "debian-archive" in signed_by):
                return uri
    raise LabError(
        f"no Debian archive found in {etc}/sources.list or {etc}/sources.list.d/ for {codename!r}.\n"
        "The lab's Asterisk is unpacked from the archive that apt uses: the lab needs a Debian host."
    )


def _one_line_sources(text: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if match and "main" in match[4].split():
            key = re.search(r"signed-by=(\S+)", match[1] or "", re.IGNORECASE)
            yield match[2], (match[3],), key[1] if key else ""


def _deb822_sources(text: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {key.lower(): value for key, value in re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza)}
        wanted = "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split()
        if wanted and fields.get("enabled", "yes").strip().lower() not in {"no", "false", "0"}:
            for uri in fields.get("uris", "").split():
                yield uri, tuple(fields.get("suites", "").split()), fields.get("signed-by", "")


def _codename() -> str:
    match = re.search(r'(?m)^VERSION_CODENAME="?([\w-]+)', Path("/etc/os-release").read_text(encoding="utf-8"))
    if not match:
        raise LabError("/etc/os-release names no VERSION_CODENAME; the lab's Asterisk needs a Debian host.")
    return match[1]


def _cached(home: Path) -> AsteriskRoot | None:
    """The newest complete root; a directory under its final name is complete, since it got it by rename."""
    architecture = _architecture()
    found = []
    for suite in SUITES:
        for path in home.glob(f"asterisk-{suite}-*-{architecture}"):
            version = path.name.removeprefix(f"asterisk-{suite}-").removesuffix(f"-{architecture}")
            if _numbers(version) >= NEWEST_NEEDED:
                found.append((_numbers(version), str(path), AsteriskRoot(path=path, version=version)))
    return max(found)[2] if found else None


def _architecture() -> str:
    return _run(["dpkg", "--print-architecture"], "dpkg is missing: the lab needs a Debian host").strip()


def _build(home: Path, progress: Progress) -> AsteriskRoot:
    mirror = find_mirror()
    if not KEYRING.exists():
        raise LabError(f"{KEYRING} is missing, so nothing can be verified: apt-get install debian-archive-keyring")
    try:
        if not home.exists():
            home.mkdir(parents=True)
            home.chmod(0o755)  # whatever the umask: Asterisk runs as an unprivileged user
        work = Path(tempfile.mkdtemp(prefix="building-", dir=home))
    except OSError as error:
        raise LabError(
            f"cannot write to {home}: {error.strerror}. Set {CACHE_VARIABLE} to a directory of yours."
        ) from error
    try:
        apt = _Apt(work, mirror)
        suite, version = _choose_suite(apt, progress)
        progress(f"fetching and unpacking Asterisk {version} from Debian {suite} into {home}")
        packages = apt.download()
        root = work / "root"
        root.mkdir()
        for package in packages:
            _run(
                ["dpkg-deb", "-x", str(package), str(root)], f"cannot unpack {package.name}; is there space in {home}?"
            )
        root.chmod(0o755)
        architecture = apt.architecture
        final = home / f"asterisk-{suite}-{version}-{architecture}"
        # Another build may have won the race: rename refuses a directory that is not empty, and both hold the same.
        with suppress(OSError):
            root.rename(final)
        if not final.is_dir():
            raise LabError(f"cannot move the unpacked Asterisk to {final}; check the rights and the space of {home}.")
        progress(f"Asterisk {version} (Debian {suite}, {architecture}) is ready: {len(packages)} packages")
        return AsteriskRoot(path=final, version=version)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _choose_suite(apt: _Apt, progress: Progress) -> tuple[str, str]:
    seen = []
    for suite in SUITES:
        progress(f"looking for Asterisk in Debian {suite}")
        version = apt.candidate(suite)
        if version and _numbers(version) >= NEWEST_NEEDED:
            return suite, version
        seen.append(f"{suite}: {version or 'none'}")
    needed = ".".join(map(str, NEWEST_NEEDED))
    raise LabError(
        f"the archive {apt.mirror} offers no Asterisk {needed} or later ({', '.join(seen)}).\n"
        f"Check that this machine reaches it (apt-get update), or that it carries one of the suites. {apt.trouble}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


class _Apt:
    """apt with a configuration, lists and package state of its own; only the network settings are the host's."""

    def __init__(self, work: Path, mirror: str) -> None:
        self.work = work
        self.mirror = mirror
        self.trouble = ""
        self.architecture = _run(
            ["dpkg", "--print-architecture"], "dpkg is missing: the lab needs a Debian host"
        ).strip()
        for name in ("etc/preferences.d", "etc/trusted.gpg.d", "state/lists/partial", "cache/archives/partial", "log"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        host = _run(["apt-config", "dump"], "apt is missing: the lab needs a Debian host").splitlines()
        network = [line for line in host if re.match(r"Acquire::(https?|ftp|Retries|ForceIPv)", line)]
        own = {
            "Dir": work, "Dir::State": work / "state", "Dir::State::status": work / "status",
            "Dir::Cache": work / "cache", "Dir::Etc": work / "etc", "Dir::Etc::sourcelist": work / "etc/sources.list",
            "Dir::Etc::sourceparts": "-", "Dir::Etc::netrc": "/etc/apt/auth.conf",
            "Dir::Etc::netrcparts": "/etc/apt/auth.conf.d", "Dir::Log": work / "log",
            "APT::Architecture": self.architecture, "APT::Install-Recommends": "false",
            # A snapshot's Release has expired long ago; its signature is verified all the same.
            "Acquire::Check-Valid-Until": "false", "Acquire::Languages": "none",
        }  # fmt: skip
        if os.geteuid() == 0:
            own["APT::Sandbox::User"] = "root"  # the user _apt may not enter this directory
        lines = [*network, f'APT::Architectures {{ "{self.architecture}"; }};']
        lines += [f'{key} "{value}";' for key, value in own.items()]
        (work / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._environ = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def candidate(self, suite: str) -> str | None:
        """The version of Asterisk that the suite offers, without epoch; None when it has none or cannot be read."""
        line = f"deb [signed-by={KEYRING}] {self.mirror} {suite} main\n"
        (self.work / "etc/sources.list").write_text(line, encoding="utf-8")
        update = self._call("apt-get", "update", "-qq")
        if update.returncode:
            self.trouble = update.stderr.strip()
            return None
        match = re.search(r"(?m)^Version: (?:\d+:)?(\S+)", self._call("apt-cache", "show", "asterisk").stdout)
        return match[1] if match else None

    def download(self) -> Sequence[Path]:
        """Fetches Asterisk and all that it depends on, verified by apt; the packages' files."""
        done = self._call("apt-get", "install", "-y", "-qq", "--download-only", "asterisk")
        if done.returncode:
            raise LabError(f"apt could not fetch Asterisk from {self.mirror}:\n{done.stderr.strip()}")
        return sorted((self.work / "cache/archives").glob("*.deb"))

    def _call(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self._environ, capture_output=True, text=True, check=False)


def _run(argv: Sequence[str], trouble: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise LabError(f"{trouble}.\n{detail.strip()}") from error
