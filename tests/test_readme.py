"""The README's Python runs as it stands, in both languages, and both show the same code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")


def python_blocks(name: str) -> list[str]:
    """The Python blocks of a Markdown file, each moved down to its own line so that a traceback points at it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text.count("\n", 0, block.start(1)) + block.group(1) for block in found]


@pytest.mark.parametrize("name", READMES)
def test_the_blocks_run_one_after_another(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    blocks = python_blocks(name)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, ROOT / name, "exec"), namespace)
    accuracy = namespace["accuracy"]
    assert isinstance(accuracy, float) and accuracy > 0.9


def test_both_languages_show_the_same_code():
    english, chinese = ([ast.dump(ast.parse(block)) for block in python_blocks(name)] for name in READMES)
    assert english == chinese


@pytest.mark.parametrize("name", READMES)
def test_the_first_two_commands_are_the_demo_and_the_tests(name):
    shell = re.search(r"```sh\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert shell is not None and shell.group(1).split("\n")[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("name", READMES)
def test_links_to_files_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links and [link for link in links if not (ROOT / link).exists()] == []
