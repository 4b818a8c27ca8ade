"""The wheel works outside the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from guardrail import __version__
from tests.kit.missing_wheels import needs
from tests.kit.signs import clear_sign

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_built_wheel_installs_and_certifies_elsewhere(tmp_path: Path) -> None:
    """Built, installed into a new environment, run from another folder.

    The new environment takes the wheel alone and borrows the dependencies of this one by a path file, for they are
    gigabytes; nothing of this checkout is on that path.
    """
    needs("build", "hatchling")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 12_000_000
    venv.create(tmp_path / "new", with_pip=False, symlinks=True)
    binaries = tmp_path / "new" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", binaries / "python")
    run(*pip, "install", "--no-deps", "--quiet", wheel, cwd=tmp_path)
    (site,) = (tmp_path / "new").glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(borrowed))

    code = "import guardrail, langchain_guardrail as l; print(guardrail.__file__, l.__file__)"
    assert run(binaries / "python", "-c", code, cwd=tmp_path).count(str(site)) == 2
    assert run(binaries / "guardrail", "--version", cwd=tmp_path).strip() == f"guardrail {__version__}"
    run(binaries / "guardrail", "audit", "list", "--log", "sqlite:///audit.db", cwd=tmp_path)
    clear_sign().save(tmp_path / "tea.png")
    options = ("--prompt", "Follow the sign.", "--samples", "20", "--json")
    assert (
        json.loads(run(binaries / "guardrail", "certify", "tea.png", *options, cwd=tmp_path))["verdict"] == "harmless"
    )
