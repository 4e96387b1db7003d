"""Where the lab's Asterisk comes from: the host's mirror, the newest cached root, no network when there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialer.errors import LabError
from dialer.lab import asterisk_root
from dialer.lab.asterisk_root import cache_dir, ensure_root, find_mirror

KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"

# file name | its text | the mirror for a bookworm host (None: none)
SOURCES = [
    ("sources.list", "deb http://one.example/debian bookworm main contrib", "http://one.example/debian"),
    ("sources.list", "# deb http://no.example bookworm main\n", None),
    ("sources.list", "deb-src http://no.example/debian bookworm main\n", None),
    ("sources.list", "deb [arch=amd64 signed-by=/x/vendor.gpg] http://no.example bookworm main\n", None),
    (
        "sources.list",
        f"deb [signed-by={KEY}] http://two.example/debian bookworm main # home",
        "http://two.example/debian",
    ),
    ("sources.list", "deb http://no.example/debian bookworm-updates main\n", None),
    ("sources.list.d/x.list", "deb http://three.example bookworm main\n", "http://three.example"),
    ("sources.list.d/x.txt", "deb http://no.example bookworm main\n", None),
    (
        "sources.list.d/debian.sources",
        "Types: deb deb-src\n# a comment\nURIs: http://four.example/debian\n"
        f"Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: {KEY}\n",
        "http://four.example/debian",
    ),
    (
        "sources.list.d/debian.sources",
        "Enabled: no\nTypes: deb\nURIs: http://no.example\nSuites: bookworm\nComponents: main\n\n"
        "Types: deb\nURIs: http://five.example\nSuites:\n bookworm\nComponents: main\n",
        "http://five.example",
    ),
    (
        "sources.list.d/vendor.sources",
        "Types: deb\nURIs: http://no.example\nSuites: bookworm\nComponents: main\nSigned-By: /x/vendor.gpg\n",
        None,
    ),
]


@pytest.mark.parametrize(("name", "text", "mirror"), SOURCES)
def test_mirror_is_the_hosts_own(tmp_path: Path, name: str, text: str, mirror: str | None) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    if mirror:
        assert find_mirror(tmp_path, "bookworm") == mirror
    else:
        with pytest.raises(LabError, match="no Debian archive found"):
            find_mirror(tmp_path, "bookworm")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, where building is an error and every machine is amd64."""

    def build(home: Path, progress: object) -> None:
        raise LabError("built")

    monkeypatch.setenv(asterisk_root.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(asterisk_root, "_build", build)
    monkeypatch.setattr(asterisk_root, "_architecture", lambda: "amd64")
    return tmp_path


# directories in the cache | the version that is taken (None: build)
CACHED = [
    ([], None),
    (["asterisk-forky-22.10.1+dfsg-1-amd64"], "22.10.1+dfsg-1"),
    (["asterisk-forky-22.10.1+dfsg-1-arm64"], None),
    (["asterisk-testing-22.9.9-1-amd64"], None),
    (["asterisk-forky-22.10.1-1-amd64", "asterisk-sid-23.2.0-1-amd64", "building-x"], "23.2.0-1"),
]


@pytest.mark.parametrize(("directories", "version"), CACHED)
def test_cached_root_needs_no_network_and_says_nothing(
    cache: Path, directories: list[str], version: str | None
) -> None:
    for directory in directories:
        (cache / directory).mkdir()
    said: list[str] = []
    if version is None:
        with pytest.raises(LabError, match="built"):
            ensure_root(said.append)
    else:
        assert ensure_root(said.append).version == version
    assert said == []


def test_cache_is_the_users_own_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(asterisk_root.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert cache_dir() == tmp_path / "dialer"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cache_dir() == Path("/var/cache/dialer")


@pytest.mark.parametrize(
    ("loader", "triplet"),
    [("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"), ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu")],
)
def test_command_uses_the_roots_own_loader(tmp_path: Path, loader: str, triplet: str) -> None:
    (tmp_path / "usr" / loader).parent.mkdir(parents=True)
    (tmp_path / "usr" / loader).touch()
    (tmp_path / "usr/lib" / triplet / "asterisk/modules").mkdir(parents=True)
    root = asterisk_root.AsteriskRoot(path=tmp_path, version="22.10.1")
    argv = root.command(Path("/x/asterisk.conf"), "-F")
    assert argv[0] == str(tmp_path / "usr" / loader)
    assert argv[argv.index("--library-path") + 1] == str(tmp_path / "usr/lib" / triplet)
    assert argv[-4:] == [str(tmp_path / "usr/sbin/asterisk"), "-C", "/x/asterisk.conf", "-F"]
