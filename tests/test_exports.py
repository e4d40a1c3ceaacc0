"""Exports: a folder that answers as the bundle does or none at all, and what people are told of it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autotl
from autotl.cli.main import main
from autotl.config import make_request
from autotl.errors import DataError, ExportError, PluginError
from autotl.exporters.standalone import module_at
from autotl.exporters.tracing import traced
from autotl.features.bag_of_words import WordsFamily
from autotl.features.heads import LinearHead
from autotl.features.words import learn_words
from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.runs.run_file import RunFile
from autotl.testing import check_exporter, check_family, make_bundle
from autotl.training.model import Classifier
from autotl.zoo.words import BAG_OF_WORDS

pytestmark = pytest.mark.usefixtures("one_thread")

#: Exporters that write the bundle's whereabouts and answer by it: one rightly, and others with a fault each.
EXPORTERS = """
import autotl
import pandas as pd
from autotl.plugins.contracts import Exporter

class Honest(Exporter):
    name, help = "honest", "the bundle itself"
    def export(self, model, cells, folder):
        (folder / "README.md").write_text(str(model.folder))
    def load(self, folder):
        model = autotl.load((folder / "README.md").read_text())
        return lambda cells: self.changed(model.predict_proba(pd.DataFrame({"text": list(cells)})))
    def changed(self, probabilities):
        return probabilities

class Wrong(Honest):
    name, help = "wrong", "answers with another class"
    def changed(self, probabilities):
        return probabilities[:, ::-1]

class Lossy(Wrong):
    name, help, exact = "lossy", "the same, and says so", False

class Blind(Honest):
    name, help, exact = "blind", "reads nothing", False
    def changed(self, probabilities):
        return probabilities * float("nan")

class Raising(Honest):
    name, help = "raising", "writes half of it"
    def export(self, model, cells, folder):
        super().export(model, cells, folder)
        raise RuntimeError("no more")

class Full(Honest):
    name, help = "full", "finds no room, as safetensors says it"
    def export(self, model, cells, folder):
        from safetensors import SafetensorError
        super().export(model, cells, folder)
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

@autotl.hookimpl
def autotl_exporters(context):
    return [Honest(), Wrong(), Lossy(), Blind(), Raising(), Full()]
"""

#: The tiny family, with an encoder that cannot do without AutoTL.
BOUND = """
import autotl

@autotl.hookimpl
def autotl_model_families(context):
    import dataclasses
    from autotl_tiny.family import TinyEncoder, TinyFamily

    class BoundEncoder(TinyEncoder):
        write_portable = None

    class Bound(TinyFamily):
        name = "bound"
        def candidates(self, context):
            return [dataclasses.replace(one, family="bound") for one in super().candidates(context)]
        def encoder(self, candidate, sample):
            return BoundEncoder()
        def restore(self, folder):
            return super().restore(folder)[0], BoundEncoder()

    return [Bound()]
"""


@pytest.fixture
def texts(frame) -> list[str]:
    return frame["text"].tolist()[:40]


@pytest.fixture
def candidates(tiny, zoo):
    return tiny.candidates(ZooContext((zoo,)))


@pytest.fixture
def bundle(tiny, candidates, texts, tmp_path):
    """A mixture of both models of the zoo."""
    return make_bundle(tiny, candidates, texts, tmp_path / "run")


@pytest.fixture
def labelled(texts, bundle, tmp_path) -> Path:
    """Rows with labels, three in four of them those that the bundle gives."""
    labels = bundle.predict(pd.DataFrame({"text": texts}))
    labels[::4] = "third"
    path = tmp_path / "labelled.csv"
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path


@pytest.fixture
def exporters(put_on_path, distribution, bundle):
    put_on_path(distribution("forms", EXPORTERS))


def test_the_tiny_family_can_do_without_autotl(tiny, candidates, texts):
    check_family(tiny, candidates[0], texts[:5])


@pytest.mark.parametrize("layered", [False, True])
def test_programs_of_torch_keep_the_contract_and_hold_nothing_pickled(tiny, candidates, texts, tmp_path, layered):
    model = make_bundle(tiny, candidates[:1], texts, tmp_path / "single", layered=layered)
    exporter = plugins().exporter("torch")
    check_exporter(exporter, model, texts)
    (tmp_path / "out").mkdir()
    exporter.export(model, texts, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "member-1" / "network.pt2") as archive:
        contents = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, content in contents.items() if content.startswith(b"PK") or name.endswith("obj")]
    assert contents["model.pt"] == b""  # the inputs that it was traced with
    configs = [json.loads(content) for name, content in contents.items() if name.endswith("_config.json")]
    assert len(configs) == 2
    assert not [entry for config in configs for entry in config["config"].values() if entry["use_pickle"]]


def test_networks_are_shown_rows_of_the_whole_table_from_the_first_batch_on(tiny, candidates, tmp_path):
    class Curious(type(plugins().exporter("torch"))):
        def write_network(self, program, path, batches):
            self.batches = list(batches)
            super().write_network(program, path, iter(self.batches))

    texts = [f"{word} of many" for word in ("cat", "oak") for _ in range(10)]
    model, exporter = make_bundle(tiny, candidates[:1], texts, tmp_path / "single"), Curious()
    (tmp_path / "out").mkdir()
    exporter.export(model, texts, tmp_path / "out")
    tokens = [next(iter(batch.values())) for batch in exporter.batches]
    assert sum(map(len, tokens)) == len(texts)
    assert all(0 < len(rows) <= 8 and (rows != rows[0]).any() for rows in tokens)


def test_the_readme_says_how_a_folder_that_runs_by_itself_is_loaded(bundle, texts, tmp_path, monkeypatch):
    data = pd.DataFrame({"text": texts})
    autotl.export(tmp_path / "run", to="torch", out=tmp_path / "out", data=data)
    (block,) = re.findall(
        r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.syspath_prepend(str(tmp_path / "out"))
    names = {}
    exec(block, names)
    assert names["OUTPUTS"] == list(bundle.task.classes)
    assert names["predict"](texts) == bundle.predict(data).tolist()
    assert names["predict_proba"]([]).shape == (0, 3)
    monkeypatch.delitem(sys.modules, "predict")


def test_the_readme_holds_no_markup_of_others(bundle, texts, tmp_path):
    evil, card = "<script>|[here](https://example.org) `a`\n# Mine", bundle.folder / "bundle.json"
    known = json.loads(card.read_text(encoding="utf-8"))
    known["members"] = [member | {"backbone": evil, "licence": evil} for member in known["members"]]
    known["task"]["targets"] = [evil]
    card.write_text(json.dumps(known), encoding="utf-8")
    autotl.export(tmp_path / "run", to="torch", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert readme.count("Mine") == 5
    assert not [markup for markup in ("<script>", "](", "|[", "`a`", "\n# Mine") if markup in readme]


@pytest.fixture
def alone(tiny, candidates, texts, tmp_path):
    """The folder of an export that runs by itself, with a class that a spreadsheet would run, and its bundle."""
    model = make_bundle(tiny, candidates[:1], texts, tmp_path / "alone", classes=("=human", "machine"))
    autotl.export(tmp_path / "alone", to="torch", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    return tmp_path / "out", model


def run_alone(folder, *words, **options):
    command = [sys.executable, str(folder / "predict.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)


def test_what_is_missing_gets_no_answer_from_either(alone):
    folder, model = alone
    cells = ["a b c", "", None, " \t", float("nan"), "d"]
    assert module_at(folder / "predict.py").predict(cells) == model.predict(cells).tolist()
    assert module_at(folder / "predict.py").predict(pd.Series(cells)) == model.predict(cells).tolist()


def test_columns_of_an_input_are_told_apart_or_joined(alone):
    folder, _ = alone
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    (folder / "answer.json").write_text(json.dumps(answer | {"columns": ["title", "body"]}), encoding="utf-8")
    of_two = module_at(folder / "predict.py").predict_proba
    np.testing.assert_array_equal(of_two([("a", "b"), ("", "b")]), of_two(["title: a\nbody: b", "body: b"]))
    (folder / "answer.json").write_text(
        json.dumps(answer | {"columns": ["one", "other"], "modality": "text_pair"}), encoding="utf-8"
    )
    pairs = module_at(folder / "predict.py").predict
    assert pairs([("", "b"), ("a", None), None]) == [None] * 3
    for wrong in (("a", "b", "c"), "a text"):
        with pytest.raises(ValueError, match=r"input 0: a tuple of 2 values is read, \('one', 'other'\), not"):
            pairs([wrong])


@pytest.mark.parametrize("wrong", ["a text", Path("a.csv"), {"text": "a"}, pd.DataFrame({"text": ["a"]})])
def test_what_is_no_list_of_inputs_is_refused(alone, wrong):
    with pytest.raises(TypeError, match=r"a list of inputs is answered, such as predict\(\[one, another\]\), and no "):
        module_at(alone[0] / "predict.py").predict(wrong)


@pytest.mark.parametrize("wrong", [("a", "b"), ["a"], 5, b"a"])
def test_what_is_no_input_is_refused(alone, wrong):
    with pytest.raises(TypeError, match="input 1: texts and paths are read, not "):
        module_at(alone[0] / "predict.py").predict(["a", wrong])


def test_a_table_gets_the_same_cells_from_either(alone, texts, tmp_path):
    folder, model = alone
    pd.DataFrame({"text": [*texts, ""]}).to_csv(tmp_path / "new.csv", index_label="id")
    ours = tmp_path / "ours.csv"
    assert main(["predict", str(model.folder), "--data", str(tmp_path / "new.csv"), "--out", str(ours)]) == 0
    said = run_alone(folder, tmp_path / "new.csv")
    assert said.returncode == 0, said.stderr
    theirs = pd.read_csv(io.StringIO(said.stdout))
    assert "'=human" in theirs["prediction"].tolist()
    pd.testing.assert_frame_equal(theirs, pd.read_csv(ours), rtol=1e-3)


def test_a_new_label_is_told_before_anything_is_written(bundle, exporters, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("autotl.exporters.exporting.compare", lambda *given: pytest.fail("the export was made"))
    known = pd.read_csv(labelled)
    strange = known.assign(label=["unknown", *known["label"][1:]])
    with pytest.raises(DataError, match="unknown"):
        autotl.export(tmp_path / "run", to="honest", out=tmp_path / "out", data=strange)


def test_an_export_that_was_killed_is_in_no_way_of_the_next(bundle, exporters, labelled, tmp_path):
    (tmp_path / f".out.{os.getpid()}").mkdir()  # as one of a process of the same number left it
    autotl.export(tmp_path / "run", to="honest", out=tmp_path / "out", data=labelled)
    assert (tmp_path / "out" / "README.md").is_file()


def test_a_table_that_cannot_be_read_is_told_in_a_line(alone, texts, tmp_path):
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "new.parquet")
    for name in ("new.parquet", "none.csv"):
        said = run_alone(alone[0], tmp_path / name)
        assert said.returncode == 1
        assert re.fullmatch(r"\S+ cannot be read \(.*\); what is read is a CSV file in UTF-8\n", said.stderr)


def test_a_row_with_more_or_fewer_cells_than_columns_is_told_with_its_line(alone, tmp_path):
    (tmp_path / "new.csv").write_text('id,text\n1,"two\nlines"\n2,a,b\n', encoding="utf-8")
    said = run_alone(alone[0], tmp_path / "new.csv")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == f"{tmp_path / 'new.csv'}: line 4 has 3 cells, and the table has 2 columns\n"
    (tmp_path / "new.csv").write_text("id,text\n1,a\n2\n", encoding="utf-8")  # cut in the midst of a line
    assert run_alone(alone[0], tmp_path / "new.csv").stderr.endswith(
        "line 3 has 1 cells, and the table has 2 columns\n"
    )


def test_a_table_that_has_predictions_already_is_refused(alone, tmp_path):
    (tmp_path / "new.csv").write_text("text,prediction\na cat,old\n", encoding="utf-8")
    said = run_alone(alone[0], tmp_path / "new.csv")
    assert (said.returncode, said.stdout) == (1, "")
    assert "has a column 'prediction' already; rename it" in said.stderr


def test_a_quote_that_never_closes_and_columns_of_one_name_are_refused(alone, tmp_path):
    unclosed, repeated = 'id,text\n1,"never closed\n2,b\n', "text,n,n\na,1,2\n"
    for text, told in ((unclosed, "cannot be read"), (repeated, "several columns 'n'")):
        (tmp_path / "new.csv").write_text(text, encoding="utf-8")
        said = run_alone(alone[0], tmp_path / "new.csv")
        assert (said.returncode, said.stdout) == (1, "")
        assert told in said.stderr


def test_every_character_comes_through_a_pipe_and_a_carriage_return_divides_no_row(alone, tmp_path):
    table = pd.DataFrame({"id": ["\N{SNOWMAN}", "one\rtwo"], "text": ["a", "b"]})
    table.to_csv(tmp_path / "new.csv", index=False, quoting=csv.QUOTE_ALL)
    command = [sys.executable, str(alone[0] / "predict.py"), str(tmp_path / "new.csv")]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    said = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert pd.read_csv(io.BytesIO(said.stdout))["id"].tolist() == table["id"].tolist()


def test_an_answer_that_counts_words_can_be_traced_where_texts_have_one(tiny, candidates, tmp_path):
    """Of lengths of one, tracing makes a number that never changes."""
    texts, labels = ["anna", "ben", "cleo", "dan"] * 5, np.array([0, 1, 0, 1] * 5)
    task = make_bundle(tiny, candidates[:1], texts, tmp_path / "run", classes=("a", "b")).task
    family = WordsFamily(learn_words(task, texts, labels, seed=0, weights=None, groups=None))
    encoder = family.encoder(BAG_OF_WORDS, [])
    backbone = family.load(BAG_OF_WORDS)
    network = Classifier(backbone, LinearHead.zeros(backbone.width, 2))
    rows = encoder.encode(["anna", "ben"])
    assert {len(row) for row in rows} == {1}
    program = traced(network, encoder, rows, modality="text", name="words")
    longer = encoder.batch(encoder.encode(["anna ben cleo"]))
    assert program.module()(longer).shape == (1, 2)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_it_says_how_it_is_used(alone, option):
    said = run_alone(alone[0], option)
    assert (said.returncode, said.stderr) == (0, "")
    assert "python predict.py new.csv > predictions.csv" in said.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes of a shell")
def test_a_reader_that_has_enough_ends_it_quietly(alone, tmp_path):
    pd.DataFrame({"text": ["a b c " * 200] * 400}).to_csv(tmp_path / "new.csv", index=False)
    command = f"{shlex.join([sys.executable, str(alone[0] / 'predict.py'), str(tmp_path / 'new.csv')])} | head -n 1"
    said = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_an_export_is_compared_with_its_bundle(bundle, exporters, labelled, tmp_path):
    found = autotl.export(tmp_path / "run", to="honest", out=tmp_path / "out", data=labelled)
    truth = bundle.evaluate(labelled).score
    assert (found.rows, found.agreement) == (40, 1.0)
    assert found.difference < 1e-5  # rows alone and among others
    assert found.score == found.bundle_score == pytest.approx(truth)
    assert found.seconds > 0
    assert found.bundle_seconds > 0
    assert found.size == len(str(bundle.folder))
    assert (tmp_path / "out" / "README.md").is_file()


def test_rows_without_labels_are_compared_too(exporters, texts, tmp_path):
    data = pd.DataFrame({"text": [*texts, None]})
    found = autotl.export(tmp_path / "run", to="honest", out=tmp_path / "out", data=data)
    assert (found.rows, found.score, found.bundle_score) == (40, None, None)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("wrong", r"its export to 'wrong' differs by 0\.\d+ in a probability, more than 0.0001, and was removed"),
        ("blind", r"its export to 'blind' cannot read the same rows"),
    ],
)
def test_an_export_that_answers_otherwise_is_refused_and_nothing_stays(exporters, labelled, tmp_path, form, told):
    before = set(tmp_path.iterdir())
    with pytest.raises(ExportError, match=told):
        autotl.export(tmp_path / "run", to=form, out=tmp_path / "out", data=labelled)
    assert set(tmp_path.iterdir()) == before


def test_nothing_stays_of_an_exporter_that_raises(exporters, labelled, tmp_path):
    before = set(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="no more"):
        autotl.export(tmp_path / "run", to="raising", out=tmp_path / "out", data=labelled)
    assert set(tmp_path.iterdir()) == before


def test_a_disk_that_is_full_is_told_in_a_line(exporters, labelled, tmp_path, capsys):
    assert (
        main(["export", str(tmp_path / "run"), "--to", "full", "--out", str(tmp_path / "o"), "--data", str(labelled)])
        == 2
    )
    assert re.fullmatch(r"autotl: \S+ cannot be written \(.*No space left.*\)\n", capsys.readouterr().err)
    assert not (tmp_path / "o").exists()


def test_what_a_lossy_form_loses_is_told(bundle, exporters, labelled, tmp_path, capsys):
    arguments = ["export", str(tmp_path / "run"), "--to", "lossy", "--data", str(labelled)]
    assert main([*arguments, "--out", str(tmp_path / "json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"] < 0.7
    assert told["score"] < told["bundle_score"]
    assert main([*arguments, "--out", str(tmp_path / "shown")]) == 0
    shown = capsys.readouterr().out
    assert f"{told['agreement']:.1%} of 40 rows get the same answer" in shown
    assert "own table" not in shown
    assert shown.split("accuracy")[1].split()[:2] == [f"{told['bundle_score']:.4f}", f"{told['score']:.4f}"]


def test_what_is_there_is_not_overwritten(exporters, labelled, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    for out in ("out", "labelled.csv", "nowhere/out"):
        arguments = ["--to", "honest", "--out", str(tmp_path / out), "--data", str(labelled)]
        assert main(["export", str(tmp_path / "run"), *arguments]) == 2
        error = capsys.readouterr().err
        assert "exists already" in error or "no such folder" in error
        assert "--out" in error
    assert not list((tmp_path / "out").iterdir())


def test_a_form_that_nobody_brings_is_told_with_those_that_are_there(exporters, labelled, tmp_path):
    with pytest.raises(PluginError, match=r"no plugin here exports to 'coreml'.* blind, .*honest, .*torch"):
        autotl.export(tmp_path / "run", to="coreml", out=tmp_path / "out", data=labelled)


def test_a_family_that_cannot_do_without_autotl_is_told(put_on_path, distribution, bundle, zoo, texts, tmp_path):
    put_on_path(distribution("bound", BOUND))
    bound = plugins().family("bound")
    make_bundle(bound, bound.candidates(ZooContext((zoo,)))[:1], texts, tmp_path / "bound")
    with pytest.raises(ExportError, match=r"family 'bound' cannot say how its inputs are read without AutoTL"):
        autotl.export(tmp_path / "bound", to="torch", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))


def test_rows_come_from_the_table_of_the_run_or_have_to_be_given(exporters, labelled, tmp_path, capsys):
    arguments = ["export", str(tmp_path / "run"), "--to", "honest", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "a bundle by itself has none; give rows like those that it answers, with --data" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none"), *arguments[2:]]) == 2
    assert "no such run or bundle" in capsys.readouterr().err


def write_run_file(folder, bundle, table):
    """That the bundle in a folder comes of a search on a table."""
    RunFile(
        id="1", state="finished", request=make_request(str(table)), task=bundle.task, data_fingerprint="",
        rows={}, audit_seconds=0.0, versions={}, machine="",
    ).write(folder)  # fmt: skip


def test_a_run_is_compared_on_its_own_table(bundle, exporters, labelled, tmp_path, capsys):
    write_run_file(tmp_path / "run", bundle, labelled)
    found = autotl.export(tmp_path / "run", to="honest", out=tmp_path / "out")
    assert (found.rows, found.score) == (40, bundle.evaluate(labelled).score)
    assert main(["export", str(tmp_path / "run"), "--to", "honest", "--out", str(tmp_path / "shown")]) == 0
    assert "of the search's own table, and the model has seen most of them" in capsys.readouterr().out
    labelled.unlink()
    with pytest.raises(ExportError, match=r"its table .*labelled\.csv is not there; give rows .* with --data"):
        autotl.export(tmp_path / "run", to="honest", out=tmp_path / "again")


def test_a_score_on_the_rows_of_the_search_is_told_to_be_one(bundle, labelled, tmp_path, capsys):
    def evaluated(table, *more):
        assert main(["evaluate", str(tmp_path / "run"), "--data", str(table), *more]) == 0
        return capsys.readouterr().out

    warning, copy, other = "the model has seen most of them", tmp_path / "copy.csv", tmp_path / "other.csv"
    copy.write_bytes(labelled.read_bytes())
    other.write_bytes(labelled.read_bytes() + labelled.read_bytes().splitlines()[-1] + b"\n")
    assert warning not in evaluated(labelled), "of a bundle by itself nothing is known"
    write_run_file(tmp_path / "run", bundle, labelled)
    assert warning in evaluated(labelled)
    assert json.loads(evaluated(copy, "--json"))["own_table"]
    assert not json.loads(evaluated(other, "--json"))["own_table"]
    labelled.unlink()
    assert warning not in evaluated(other)
