"""What the packaging tests pass round: the files of a release, and an environment to install one in."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Built:
    """The two files that a release has."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment without anything in it, pip not excepted."""

    place: Path
    python: Path
    site: Path

    @classmethod
    def empty(cls, place: Path) -> Environment:
        venv.create(place, symlinks=True)
        python = place / "bin" / "python"
        said = subprocess.check_output([python, "-Ic", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
        return cls(place, python, Path(said.strip()))

    def pip(self, *arguments: str) -> None:
        """Run the pip of this interpreter for that environment, offline."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.place)
        assert done.returncode == 0, done.stdout + done.stderr

    def borrow(self) -> None:
        """Let it import what is installed here, after its own. A .pth only lengthens the path: .pth files over there,
        such as the one of an editable vizkit, are not read."""
        here = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        (self.site / "borrowed.pth").write_text("\n".join(here) + "\n", "utf-8")

    def files(self) -> set[str]:
        """The names in its site-packages."""
        return {path.name for path in self.site.iterdir()}

    def run(self, *command: str) -> str:
        """Run a program of it, away from the checkout; what it says on standard output."""
        own = {"PYTHONSAFEPATH": "1", "VIZKIT_HOME": str(self.place / "home"), "VIZKIT_CACHE": str(self.place / "cache")}
        program = str(self.place / "bin" / command[0])
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, cwd=self.place, env=own)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
