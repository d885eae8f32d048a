"""The pictures of docs/pictures.md are what docs/pictures.py draws, and of the networks of document 002."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PARAMETERS = {
    "multilayer_perceptron": 541_794,
    "convolutional_network": 138_122,
    "recurrent_network": 84_362,
    "shared_input": 399_610,
    "shared_feature_extractor": 78_984,
    "several_inputs": 424_874,
    "several_outputs": 31_348,
}
"""As the document prints them."""


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_networks_are_the_documents(program):
    assert {network.__name__: network().count_params() for network in program.NETWORKS} == PARAMETERS


def test_the_committed_pictures_are_what_the_program_draws(program, tmp_path):
    program.draw(tmp_path)
    drawn = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    committed = {file.name: file.read_text(encoding="utf-8") for file in (DOCS / "pictures").iterdir()}
    assert drawn == committed, "run python docs/pictures.py"


def test_the_page_shows_each_of_them():
    text = (DOCS / "pictures.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(pictures/(\w+)\.svg\)", text) == list(PARAMETERS)
