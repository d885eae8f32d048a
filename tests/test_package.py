"""The package's root: names that are imported when they are used."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import lamina

ROOT = Path(str(lamina.__file__))


@pytest.mark.parametrize("name", lamina.__all__)
def test_every_public_name_is_there(name):
    assert getattr(lamina, name) is not None


@pytest.mark.parametrize("name", sorted(lamina._OBJECTS))
def test_an_object_at_the_root_is_the_one_of_its_package(name):
    assert getattr(lamina, name) is getattr(importlib.import_module(lamina._OBJECTS[name]), name)


def test_type_checkers_see_the_names_that_users_reach():
    """The imports under `TYPE_CHECKING` and the tables that are used at run time name the same things."""
    imports = [node for node in ast.walk(ast.parse(ROOT.read_text())) if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names if node.module.startswith("lamina")}
    del seen["keep_freed_memory"]  # not public: what the import does
    assert {name for name, module in seen.items() if module == "lamina"} == set(lamina._PACKAGES)
    assert {name: module for name, module in seen.items() if module != "lamina"} == lamina._OBJECTS


def test_dir_lists_the_public_names():
    assert dir(lamina) == sorted(lamina.__all__)


def test_a_star_import_gives_them_all():
    namespace: dict[str, object] = {}
    exec("from lamina import *", namespace)
    assert set(lamina.__all__) <= set(namespace)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lamina' has no attribute 'nonsense'"):
        lamina.nonsense  # noqa: B018
    assert not hasattr(lamina, "_nonsense")
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec("from lamina import nonsense")


def test_the_version_is_that_of_the_installed_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", lamina.__version__)
    assert lamina.__version__ == metadata.version("lamina")


def test_importing_lamina_imports_no_package_of_it_but_sets_the_allocator():
    program = "import sys, lamina; print(sorted(m for m in sys.modules if m.startswith('lamina.') or m == 'torch'))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['lamina.allocator']"
