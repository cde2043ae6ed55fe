"""Where things are, and how parts that are missing come there."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
BUILD = ROOT / "build" / "release"
DEPS = ROOT / ".deps"
VENVS = DEPS / "venvs"
RESULTS = BENCH / "results"


def progress(text):
    print(text, file=sys.stderr, flush=True)


def make_venv(name, requirements):
    """The Python of an environment that has what `requirements` pins; made when it is not there. Raises RuntimeError."""
    folder = VENVS / name
    VENVS.mkdir(parents=True, exist_ok=True)
    command = [str(ROOT / "scripts" / "make_venv"), str(folder), str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"{requirements} could not be installed")
    return folder / "bin" / "python"


def use_venv(name, requirements):
    """Goes on in that environment: starts this program again with its Python unless it is the one."""
    if pathlib.Path(sys.prefix).resolve() == (VENVS / name).resolve():
        return
    python = make_venv(name, requirements)
    os.execv(python, [str(python), *sys.argv])
