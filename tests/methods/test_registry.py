"""Every method has its place in a config, and the pages that list methods list all of them."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from face2exp_lib.config import RunConfig
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.method import Method
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


def test_the_pages_that_list_methods_list_all() -> None:
    (listed,) = re.findall(r"`--set method=` with (.*?):", (ROOT / "README.md").read_text(), re.S)
    assert set(re.findall(r"`(\w+)`", listed)) == METHODS.keys() - {"meta", "supervised"}
    assert plans.__doc__
    assert set(METHODS) <= set(re.findall(r"\w+", plans.__doc__))
    api = (ROOT / "book" / "api.md").read_text()
    for method in METHODS.values():
        assert f".. automodule:: {method.step.__module__}\n" in api
