"""README is the manual: its Python runs, and it leaves no public name and no setting out."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import multistream_asgi
from multistream_asgi import Limits, StreamConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

# A block that cannot run here has `<!-- not run: REASON -->` on a line of its own before it.
BLOCK = re.compile(
    r"^(?P<not_run><!-- not run: \S[^\n]* -->\n+)?```python\n(?P<code>.*?)^```$", re.M | re.S
)
BLOCKS = [
    pytest.param(
        # As many lines as stand before it, so that a traceback names README's own lines.
        "\n" * README.count("\n", 0, block.start("code")) + block["code"],
        id=f"line {README.count(chr(10), 0, block.start('code'))}",
    )
    for block in BLOCK.finditer(README)
    if not block["not_run"]
]
# What is set as code, in a block or within a line: a setting's name is a common word elsewhere.
CODE = "\n".join(re.findall(r"^```.*?^```$|`[^`\n]+`", README, re.M | re.S))


@pytest.mark.parametrize("code", BLOCKS)
def test_block_runs(code: str, tmp_path: Path) -> None:
    """Each in a process of its own, as a module: a server under `__main__` does not start."""
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import readme"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


def test_most_blocks_run() -> None:
    assert len(BLOCKS) > README.count("```python\n") / 2


@pytest.mark.parametrize(
    "name",
    [
        *multistream_asgi.__all__,
        *(
            f"{cls.__name__}.{field.name}"
            for cls in (Limits, StreamConfig)
            for field in fields(cls)
        ),
    ],
)
def test_public_name_is_explained(name: str) -> None:
    word = name.rpartition(".")[2]
    assert re.search(rf"\b{re.escape(word)}\b", CODE), f"README does not mention {name}"
