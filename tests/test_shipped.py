"""Recipes that come with kcomp are found by name."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from kcomp import recipe as recipes
from kcomp.commands.train import train
from kcomp.system.shipped import find_recipe, shipped_recipes


def test_a_name_is_a_shipped_recipe_and_a_path_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"digits", "sign_digits", "ants_bees", "cards"} <= shipped_recipes().keys()
    assert find_recipe(Path("digits")).name == "digits.py" and find_recipe(Path("digits")).is_file()
    (tmp_path / "digits").touch()
    assert find_recipe(Path("digits")) == Path("digits")


def test_an_unknown_name_gives_the_nearest_and_the_list():
    with pytest.raises(
        FileNotFoundError, match=r"did you mean 'digits'.*ants_bees, cards, digits, plant_pathology_2020, sign_digits"
    ):
        recipes.load("digit")


def test_the_help_of_a_named_recipe_lists_its_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = CliRunner().invoke(train, ["digits", "--help"]).output
    assert "Values of digits, for --set name=value:" in text and "peak_rate" in text
