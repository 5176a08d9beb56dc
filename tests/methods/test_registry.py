"""Every method has its place in a config, and the pages that list methods list all of them."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import yaml

from face2exp_lib.config import RunConfig
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.method import Method
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training import plans
from face2exp_lib.training.run_changes import KEYS

ROOT = Path(__file__).parents[2]


def test_each_method_with_options_has_a_field_of_the_config_by_its_name() -> None:
    of_config = {field.name: field.type for field in fields(RunConfig)}
    for name, method in METHODS.items():
        assert of_config.get(name) == method.options, name
        if method.options:
            assert is_dataclass(method.options)
            assert name in KEYS  # what of them may change in mid-run


def test_no_field_of_the_config_has_options_of_a_method_that_is_not_listed() -> None:
    listed = {method.options for method in METHODS.values()}
    for field in fields(RunConfig):
        module = getattr(field.type, "__module__", "")
        if module.startswith("face2exp_lib.methods.") and not module.endswith(".passes"):
            assert field.type in listed, field.name


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_stands_in_one_file_with_its_options_and_cost(method: Method) -> None:
    module = method.step.__module__
    assert method.cost.__module__ == module
    homes = (module, "face2exp_lib.methods.meta_options")  # the method of the book has many
    assert method.options is None or method.options.__module__ in homes
    assert module.removeprefix("face2exp_lib.methods.") in (method.name, "meta_face2exp")


def test_every_method_of_the_papers_tables_is_here() -> None:
    """By the name that the paper has for it, and as an arm of the comparison of all."""
    published = read_json(ROOT / "results" / "published" / "face2exp.json")
    names = {"SL": "supervised", "SCN": "scn", "RAN": "ran", "LDL": "ldl_alsg"}
    titles = {method.title: name for name, method in METHODS.items()}
    for table in ("table_2", "table_3"):
        for name in published[table]["accuracy"]:
            assert names.get(name, titles.get(name)) in METHODS, name
    arms = yaml.safe_load((ROOT / "configs" / "study_rivals.yaml").read_text())["arms"]
    compared = {arm.get("method", "meta") for arm in arms.values()}
    assert compared == METHODS.keys()


def test_the_chapter_draws_every_method() -> None:
    chapter = (ROOT / "book" / "meet_the_rivals.md").read_text()
    assert set(re.findall(r'Drawn\("(\w+)"\)', chapter)) == METHODS.keys()


def test_the_pages_that_list_methods_list_all() -> None:
    (listed,) = re.findall(r"`--set method=` with (.*?):", (ROOT / "README.md").read_text(), re.S)
    assert set(re.findall(r"`(\w+)`", listed)) == METHODS.keys() - {"meta", "supervised"}
    assert plans.__doc__
    assert set(METHODS) <= set(re.findall(r"\w+", plans.__doc__))
    api = (ROOT / "book" / "api.md").read_text()
    for method in METHODS.values():
        assert f".. automodule:: {method.step.__module__}\n" in api
