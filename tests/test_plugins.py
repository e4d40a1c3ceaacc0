"""Plugins: found by metadata, kept apart when they fail, and never named by the core."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autotl
from autotl.errors import PluginError
from autotl.plugins import manager
from autotl.plugins.manager import plugins

CORE = Path(autotl.__file__).parent

GOOD = """
import autotl
from autotl.plugins.contracts import Real, Strategy, Work

class Kind(Strategy):
    name = "{name}"
    def parameters(self, context): return [Real("rate", 0.0, 1.0)]
    def portfolio(self, context): return [{{"rate": 0.5}}]
    def work(self, context, settings): return Work(0.0)
    def fit(self, trial): yield

@autotl.hookimpl
def autotl_strategies(context):
    return [Kind()]
"""


def record(name):
    (found,) = [record for record in plugins().records if record.name == name]
    return found


def test_plugin_of_a_third_party_is_listed_with_what_it_adds(command_line):
    answer = command_line("plugins", "--json")
    assert answer.returncode == 0, answer.stderr
    (found,) = [one for one in json.loads(answer.stdout) if one["name"] == "tiny"]
    assert (found["package"], found["version"], found["state"]) == ("autotl-tiny", "1.0", "on")
    assert found["adds"] == ["family tiny (text)"]


def test_models_of_a_third_party_are_listed_as_usable(command_line, zoo):
    answer = command_line("models", "--models", zoo, "--offline", "--json")
    assert answer.returncode == 0, answer.stderr
    usable = [one["name"] for one in json.loads(answer.stdout) if one["usable"]]
    assert usable == ["one", "two"]


def test_core_brings_its_strategies_and_finetune_is_the_first(put_on_path, distribution):
    put_on_path(distribution("aaa", GOOD.format(name="aaa")))
    assert plugins().records[0].name == "core"
    names = [strategy.name for strategy in plugins().strategies]
    assert names[0] == "finetune"
    assert names.index("scratch") < names.index("aaa")


def test_plugin_for_another_contract_is_named_and_never_imported(put_on_path, distribution):
    put_on_path(distribution("future", "raise SystemExit('imported')", group="autotl.plugins.v2"))
    found = record("future")
    assert (found.package, found.version, found.state) == ("autotl-future", "3.2", "off")
    assert "contract v2" in found.reason
    assert "v1" in found.reason
    assert "autotl_future" not in sys.modules


@pytest.mark.parametrize("raised", ["RuntimeError", "SystemExit", "ImportError", "SyntaxError"])
def test_plugin_that_raises_on_import_is_off_with_its_reason_and_others_work(put_on_path, distribution, raised):
    put_on_path(
        distribution(f"bad_{raised}", f"raise {raised}('out of order')"),
        distribution("fine", GOOD.format(name="fine")),
    )
    found = record(f"bad_{raised}")
    assert found.state == "off"
    assert raised in found.reason
    assert "out of order" in found.reason
    assert record("fine").state == "on"
    assert plugins().strategy("fine").name == "fine"


def test_plugin_that_raises_when_asked_is_off(put_on_path, distribution):
    code = "import autotl\n@autotl.hookimpl\ndef autotl_model_families(context):\n    raise OSError('no disk')\n"
    put_on_path(distribution("asked", code))
    assert record("asked").state == "off"
    assert "no disk" in record("asked").reason


def test_family_that_lacks_a_method_is_off(put_on_path, distribution):
    code = """
import autotl
class Half:
    name, modality, augments = "half", "text", False
    def candidates(self, context): return []
    def encoder(self, candidate, sample): ...
    def load(self, candidate, *, drop=0.0, pretrained=True): ...
    def save(self, backbone, encoder, folder): ...

@autotl.hookimpl
def autotl_model_families(context):
    return [Half()]
"""
    put_on_path(distribution("half", code))
    assert record("half").state == "off"
    assert "Half does not satisfy the contract ModelFamily" in record("half").reason
    assert "half" not in [family.name for family in plugins().families]
    with pytest.raises(PluginError, match=r"model family 'half'.*autotl-half is off"):
        plugins().family("half")


def test_name_that_is_taken_switches_the_later_plugin_off(put_on_path, distribution):
    put_on_path(
        distribution("first", GOOD.format(name="same")),
        distribution("second", GOOD.format(name="same")),
        distribution("usurper", GOOD.format(name="finetune")),
    )
    assert record("first").state == "on"
    assert record("second").state == record("usurper").state == "off"
    assert "the name 'same' is taken" in record("second").reason
    assert type(plugins().strategy("finetune")).__module__ == "autotl.strategies.finetune"


#: A family that could be one, under a name to fill in.
FAMILY = """
import autotl
from autotl_tiny.family import TinyFamily

class Named(TinyFamily):
    name = "{name}"

@autotl.hookimpl
def autotl_model_families(context):
    return [Named()]
"""


def test_the_bag_of_words_has_its_name_for_itself(put_on_path, distribution):
    put_on_path(Path(__file__).parent / "thirdparty" / "tiny", distribution("mine", FAMILY.format(name="words")))
    assert record("mine").state == "off"
    assert "'words' is taken by AutoTL's bag of words" in record("mine").reason


def test_a_second_plugin_of_a_name_leaves_the_first_what_it_has(put_on_path, distribution, tmp_path):
    """As where a package was renamed and the old one is installed still."""
    hears = "import autotl\n@autotl.hookimpl\ndef autotl_event(event, context):\n    pass\n"
    first, second = distribution("same", hears), tmp_path / "renamed"
    shutil.copytree(first, second)
    (info,) = second.glob("*.dist-info")
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("autotl-same", "autotl-renamed"))
    info.rename(second / info.name.replace("same", "renamed"))
    put_on_path(first, second)
    states = {known.package: known.state for known in plugins().records if known.name == "same"}
    assert sorted(states.values()) == ["off", "on"]
    assert list(plugins().listeners) == ["same"]
    assert "another package has a plugin called 'same'" in next(r.reason for r in plugins().records if r.state == "off")


def test_hook_that_does_not_exist_switches_the_plugin_off(put_on_path, distribution):
    code = GOOD.format(name="typo").replace("autotl_strategies", "autotl_stratgies")
    put_on_path(distribution("typo", code))
    assert record("typo").state == "off"
    assert "autotl_stratgies" in record("typo").reason


def test_plugin_that_hands_over_no_list_is_off(put_on_path, distribution):
    code = "import autotl\n@autotl.hookimpl\ndef autotl_strategies(context):\n    return 7\n"
    put_on_path(distribution("seven", code), distribution("fine", GOOD.format(name="fine")))
    assert record("seven").state == "off"
    assert record("fine").state == "on"


def test_plugin_without_anything_to_add_is_on(put_on_path, distribution):
    put_on_path(distribution("nothing", "import autotl\n"))
    assert (record("nothing").state, record("nothing").adds) == ("on", ())


def test_core_imports_no_model_library_and_names_no_plugin():
    wrong = re.compile(
        r"^\s*(import|from)\s+(timm|transformers|peft|onnx\w*|autotl_\w+)\b"
        r"|import_module\(|['\"](timm|transformers|peft|onnx)['\"]|autotl-(timm|transformers|distill|peft|onnx)",
        re.MULTILINE,
    )
    found = [
        f"{path.relative_to(CORE)}: {match[0].strip()}"
        for path in sorted(CORE.rglob("*.py"))
        for match in wrong.finditer(path.read_text(encoding="utf-8"))
        if not (match[0] == "import_module(" and path.name == "__init__.py" and path.parent == CORE)
    ]
    assert not found


def loaded_after(code):
    answer = subprocess.check_output([sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], text=True)
    return {name.partition(".")[0] for name in answer.splitlines()[-1].split()}


def test_importing_autotl_loads_nothing_heavy():
    assert not loaded_after("import autotl") & {"torch", "pydantic", "optuna", "pandas", "numpy", "rich", "pluggy"}


def test_help_loads_nothing_heavy():
    code = "from autotl.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(code) & {"torch", "pydantic", "optuna", "pandas", "numpy", "rich", "shtab", "timm"}


def test_listing_plugins_loads_no_network_library():
    code = "from autotl.plugins.manager import plugins\nplugins()"
    assert not loaded_after(code) & {"torch", "timm", "transformers"}


def test_the_worker_loads_nothing_of_the_engine():
    """Time to load Optuna, which the worker has no use for, would be lost to every search and every new worker."""
    assert not loaded_after("import autotl.search.worker, autotl.search.workbench") & {"optuna", "sqlalchemy", "rich"}


def test_public_names_are_there():
    assert set(autotl.__all__) <= set(dir(autotl))
    for name in autotl.__all__:
        assert getattr(autotl, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'fits'"):
        _ = autotl.fits


@pytest.mark.parametrize("changed", ["torch", "numpy"])
def test_what_a_family_computes_with_is_known_by_its_versions(put_on_path, distribution, monkeypatch, changed):
    folder = distribution("mine", FAMILY.format(name="mine"))
    (metadata,) = folder.glob("*.dist-info/METADATA")
    metadata.write_text(metadata.read_text() + "Requires-Dist: numpy>=1\n")
    put_on_path(Path(__file__).parent / "thirdparty" / "tiny", folder)
    before, real = plugins().made_by("mine"), manager.version
    monkeypatch.setattr(manager, "version", lambda name: "0.0" if name == changed else real(name))
    assert plugins().made_by("mine") != before
    assert f"{changed} 0.0" in plugins().made_by("mine")
