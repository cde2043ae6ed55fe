"""The original TensorFlow-Serving stubs. TensorFlow is 600 MB, so they live in an environment of their own."""

import pathlib
import subprocess
import sys

import pytest

from harness import ROOT

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def tensorflow_python():
    """Python with requirements-tfs.txt, made on first use under build/."""
    folder = ROOT / "build" / "venv-tfs"
    python = folder / "bin" / "python"
    requirements = HERE / "requirements-tfs.txt"
    stamp = folder / "requirements.txt"
    if not stamp.is_file() or stamp.read_text() != requirements.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements], check=True)
        stamp.write_text(requirements.read_text())
    return python


@pytest.mark.slow
def test_tensorflow_serving_api(server, tensorflow_python):
    done = subprocess.run(
        [tensorflow_python, HERE / "tfs_api_client.py", server.grpc], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stdout + done.stderr
