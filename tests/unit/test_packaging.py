"""The tests run on an editable install; this is what would go missing in a real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import multistream_asgi

PACKAGE = Path(multistream_asgi.__file__).parent


def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=PACKAGE.parent,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    in_wheel = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    in_checkout = {
        file.relative_to(PACKAGE.parent).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert in_wheel == in_checkout
    assert "multistream_asgi/py.typed" in in_wheel
