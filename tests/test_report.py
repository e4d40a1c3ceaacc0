"""The report of a run: all that a reader looks for, nothing that runs, nothing to fetch."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image
from run_folders import run_file

from autotl.budget import Clock
from autotl.cli.main import main
from autotl.config import SearchRequest
from autotl.events import read_events
from autotl.predictor.bundle import find_bundle, read_card
from autotl.report.findings import Findings, SetAside, TableRows, TooLong
from autotl.report.page import write_report
from autotl.report.words import command
from autotl.search.engine import Search
from autotl.search.study import read_study

THIRD_PARTY = Path(__file__).parent / "thirdparty"

LABELS = {
    "animal": "<b onclick=alert(1)>animal</b>",
    "plant": '$x_1^2$ & "plant"',
    "stone": "</svg><script>alert(2)</script>",
}
TARGET, TEXT = "<img src=x onerror=alert(3)>", "\"><script>alert('column')</script>"
CELL = '<script>document.title = "owned"</script><a href="https://example.org/cell">'

#: Searches in a process of its own, and says whether a drawing library was there before the end.
SEARCH = """
import sys
from pathlib import Path
from autotl.cli.main import build_parser
from autotl.config import make_request
from autotl.search.engine import Search
from autotl.search.study import read_study
build_parser()
def hear(event):
    if event.kind == "finished":
        print("matplotlib" in sys.modules, "jinja2" in sys.modules)
data, models, out, target, text = sys.argv[1:]
request = make_request(data, models=[models], trials=2, target=target, text=text)
Search(request, Path(out), listeners=[hear]).run()
"""


@pytest.fixture(scope="session")
def hostile(bare_environment, frame, zoo, tmp_path_factory):
    """A search of two trials on a table whose names and cells hold HTML, and what it printed."""
    place = tmp_path_factory.mktemp("hostile")
    frame = frame.head(120).drop(columns="id")
    frame["text"] = [f"{CELL} {text}" for text in frame["text"]]
    frame.loc[4, "text"], frame.loc[7, "text"] = frame.loc[1, "text"], frame.loc[1, "text"]  # both plants
    frame.loc[5, "text"] = frame.loc[3, "text"]  # a stone and an animal
    frame["label"] = frame["label"].map(LABELS)
    data = place / "a&b<i>.csv"
    frame.rename(columns={"label": TARGET, "text": TEXT}).to_csv(data, index=False)
    out = place / "run<u>"
    environment = bare_environment | {"PYTHONPATH": str(THIRD_PARTY / "tiny")}
    arguments = [sys.executable, "-c", SEARCH, data, zoo / "one", out, TARGET, TEXT]
    answer = subprocess.run(arguments, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
    return out, answer.stdout


@pytest.fixture
def run(hostile, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(hostile[0], tmp_path / "run")


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its words by the heading above them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, str] = {"": ""}
        self._open: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in {"meta", "img", "path", "use"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open[-1:] == ["h2"]:
            self.words[data] = ""
        elif self._open[-1:] != ["style"]:
            self.words[list(self.words)[-1]] += " ".join(data.split()) + " "

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def assert_nothing_runs_or_is_fetched(page: Page) -> None:
    (policy,) = [meta["content"] for meta in page.named("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "link", "form", "base", "b"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, attributes)
            if name in {"src", "href", "xlink:href"}:
                assert value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
            assert "url(" not in value.replace("url(#", ""), (tag, value)
    assert "url(" not in page.html[page.html.index("<style>") : page.html.index("</style>")]
    assert "@import" not in page.html


# -------------------------------------------------------------------- what it says


def test_a_search_leaves_a_report_and_draws_nothing_before_its_end(hostile):
    folder, printed = hostile
    assert printed.split() == ["False", "False"]
    assert (folder / "report.html").stat().st_size < 400_000
    assert "reporting" in run_file(folder)["ledger"]


def test_sections_come_in_their_order_with_the_answer_first(hostile):
    folder, _ = hostile
    page, card = Page(folder / "report.html"), json.loads((folder / "best" / "bundle.json").read_text())
    assert list(page.words)[1:] == [
        "The search", "Models", "What mattered", "Mistakes on the validation rows", "What may be wrong with the table",
        "Where the time went", "How to get this again",
    ]  # fmt: skip
    assert f"{card['score']:.4f}" in page.words[""]
    assert f"95 %: {card['interval'][0]:.3f} to {card['interval'][1]:.3f}" in page.words[""]
    assert "was chosen" in page.words[""]
    assert "pretrained features wins" in page.words[""]
    assert "0.3333 by guessing" in page.words[""]
    assert "finetune of tiny/one" in page.words["Models"]
    assert "came to an end: too few" in page.words["What mattered"]
    assert "training" in page.words["Where the time went"]
    again = page.words["How to get this again"]
    for fact in ("--trials 2 --seed 0", run_file(folder)["data_fingerprint"], "torch 2.", "tiny/one: none"):
        assert fact in again


def test_every_figure_says_what_it_shows(hostile):
    page = Page(hostile[0] / "report.html")
    said = [attributes["aria-label"] for attributes in page.named("div") if attributes.get("role") == "img"]
    assert len(said) == len(page.named("svg")) == len(page.named("figcaption"))
    assert {words.split()[0] for words in said} >= {"accuracy", "tiny/one:", "Learning", "Confusion", "Reliability:"}
    assert all(attributes["alt"] for attributes in page.named("img"))


def test_rows_that_are_most_wrong_are_quoted_and_those_set_aside_are_shown(hostile):
    words = Page(hostile[0] / "report.html").words
    mistakes, table = words["Mistakes on the validation rows"], words["What may be wrong with the table"]
    assert "Most wrong" in mistakes
    assert "taken for" in mistakes
    assert 'document.title = "owned"' in mistakes
    assert re.search(r"a&b<i>\.csv: row \d+", mistakes)
    assert "Set aside: 2 rows" in table
    assert "conflict: row 4 has the same content" in table
    assert "3 times: a&b<i>.csv: row 2, a&b<i>.csv: row 5, a&b<i>.csv: row 8" in table


def test_confusion_counts_every_validation_row_as_the_score_does(hostile):
    """Its shares of right rows are those that the last answer was scored by."""
    folder, _ = hostile
    (alt,) = re.findall(r"Confusion matrix of 3 classes: (\d+) of (\d+) rows", (folder / "report.html").read_text())
    card = json.loads((folder / "best" / "bundle.json").read_text())
    right, rows = map(int, alt)
    assert rows == card["validation_rows"]
    assert right / rows == pytest.approx(card["score"] + card["optimism"], abs=1e-6)


# -------------------------------------------------------------------- what must not happen


def test_html_in_the_table_is_shown_and_nothing_of_it_runs(hostile):
    page = Page(hostile[0] / "report.html")
    assert_nothing_runs_or_is_fetched(page)
    shown = " ".join(page.words.values())
    for text in (*LABELS.values(), TARGET, TEXT, CELL):
        assert text[:12] in shown


def test_a_report_on_demand_is_the_same_every_time(run, here, capsys):
    pages = []
    for name in ("one.html", "two.html"):
        assert main(["report", str(run), "--out", name]) == 0
        assert capsys.readouterr().out.strip() == name
        pages.append(Path(name).read_bytes())
    assert pages[0] == pages[1]
    assert main(["report", str(run), "--out", "one.html"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["report", str(run)]) == 0  # its own it replaces
    assert main(["report", str(run.parent)]) == 2
    assert "no run here" in capsys.readouterr().err


@pytest.mark.parametrize(("guessing", "worthless"), [(0.999, True), (-0.00001, False)])
def test_an_answer_that_does_not_beat_guessing_is_called_so(run, here, capsys, guessing, worthless):
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    changed = [event | {"majority": guessing} if event["kind"] == "floor" else event for event in events]
    (run / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in changed), encoding="utf-8")
    assert main(["report", str(run)]) == 0
    assert main(["watch", str(run)]) == 0
    for told in (Page(run / "report.html").words[""], capsys.readouterr().out):
        assert f"{max(guessing, 0):.4f} by guessing" in told
        assert ("The answer is no better than guessing." in told) == worthless
    wins = re.search(r"a linear head on pretrained features (.*?)\.", Page(run / "report.html").words[""])[1]
    assert wins.startswith("is no better than guessing" if worthless else "wins")


@pytest.mark.parametrize("kind", ["task", "head", "progress", "answer"])
def test_a_run_that_was_killed_or_is_at_work_has_a_report_too(run, here, kind):
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    last = next(number for number, line in enumerate(lines) if json.loads(line)["kind"] == kind)
    (run / "events.jsonl").write_text("\n".join(lines[: last + 1]) + '\n{"at": 3.1, "kind": "prog', encoding="utf-8")
    known = run_file(run) | {"state": "running", "ledger": {}, "seconds": 0.0, "memory": 0}
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    if kind in {"task", "head"}:
        shutil.rmtree(run / "best")
        (run / "study.journal").unlink()
    assert main(["report", str(run)]) == 0
    page = Page(run / "report.html")
    assert_nothing_runs_or_is_fetched(page)
    assert "at work, or was killed" in page.words[""]
    assert ("There is no model yet" in page.words[""]) == (kind in {"task", "head"})
    assert "reading" in page.words["Where the time went"]


def test_rows_of_a_table_that_is_gone_or_has_changed_are_left_out_with_the_reason(run, here, hostile):
    known = run_file(run)
    known["request"]["data"] = "gone.csv"
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    assert main(["report", str(run)]) == 0
    assert "gone.csv" in Page(run / "report.html").words["Mistakes on the validation rows"]
    lines = next(hostile[0].parent.glob("*.csv")).read_text(encoding="utf-8").splitlines(keepends=True)
    Path("gone.csv").write_text("".join([lines[0], *reversed(lines[1:])]), encoding="utf-8")
    assert main(["report", str(run)]) == 0
    assert "has changed since this run began" in Page(run / "report.html").words["Mistakes on the validation rows"]


def test_a_report_that_cannot_be_written_fails_no_search(table, zoo, here, tmp_path):
    def be_in_the_way(event):
        if event.kind == "finished":
            (tmp_path / "run" / "report.html").mkdir()

    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=1)
    assert not Search(request, tmp_path / "run", listeners=[be_in_the_way]).run().interrupted
    assert run_file(tmp_path / "run")["state"] == "finished"
    assert "the report was not written" in read_events(tmp_path / "run" / "events.jsonl")[-1].data["text"]


def test_a_report_whose_time_is_over_writes_nothing(run):
    (run / "report.html").unlink()
    with pytest.raises(TooLong):
        write_report(run, Findings(), clock=Clock(0.0))
    assert not (run / "report.html").exists()


# -------------------------------------------------------------------- its parts, with findings of a test's own


def findings_of(run, cells, **more):
    """As many rows as the run has, with the labels that it knows of by its split alone."""
    split = json.loads((run / "split.json").read_text())
    rows = 1 + max(split["train"] + split["valid"])
    labels = np.arange(rows) % 3
    names = [f"table.csv: row {number + 1}" for number in range(rows)]
    return Findings(rows=TableRows(names, [next(cells) for _ in names], labels, np.arange(rows) // 2, **more))


def test_images_are_inlined_small_and_what_is_none_is_named(run, tmp_path):
    known = run_file(run)
    known["task"]["inputs"][0]["modality"] = "image"
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    noise = np.random.default_rng(0).integers(0, 255, (900, 600, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.jpg", comment=b"taken by Mallory")
    (tmp_path / "none.png").write_text("<svg onload=alert(1)>")
    cells = iter([str(tmp_path / "large.jpg"), str(tmp_path / "none.png")] * 100)
    aside = [SetAside("table.csv: row 900", "no input", "")]
    page = Page(write_report(run, findings_of(run, cells, set_aside=aside), out=tmp_path / "images.html"))
    assert_nothing_runs_or_is_fetched(page)
    images = page.named("img")
    assert 6 <= len(images) <= 30
    decoded = base64.b64decode(images[0]["src"].partition(",")[2])
    assert Image.open(io.BytesIO(decoded)).size == (107, 160)
    assert b"Mallory" not in decoded
    assert "none.png" in " ".join(page.words.values())
    assert len(page.html) < 5_000_000


def test_the_images_of_a_row_are_beside_each_other_where_all_can_be_shown(run, tmp_path):
    known = run_file(run)
    known["task"]["inputs"] = [{"name": name, "modality": "images"} for name in ("front", "side")]
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "none.png").write_text("no picture")
    cells = iter([tuple(str(tmp_path / f"{name}.png") for name in ("red", other)) for other in ("blue", "none")] * 100)
    page = Page(write_report(run, findings_of(run, cells), out=tmp_path / "images.html"))
    assert_nothing_runs_or_is_fetched(page)
    images = page.named("img")
    assert len(images) % 2 == 0
    assert images[0]["src"] != images[1]["src"]
    assert [image["alt"].partition(" of ")[0] for image in images[:2]] == ["Image 1", "Image 2"]
    assert "none.png" in " ".join(page.words.values())
    assert "from the sets of images in columns front and side" in page.html


def test_long_texts_and_half_characters_make_no_large_or_broken_page(run, tmp_path):
    cells = iter(["\udcff\0 lone half " + "word " * 100_000] * 200)
    page = Page(write_report(run, findings_of(run, cells), out=tmp_path / "long.html"))
    assert len(page.html) < 500_000
    assert "lone half word" in " ".join(page.words.values())


def test_settings_are_ranked_where_there_is_something_to_rank(run, tmp_path):
    findings = Findings(importances={"learning_rate_multiplier": 0.7, "frozen_fraction": 0.3}, finished_trials=12)
    words = Page(write_report(run, findings, out=tmp_path / "ranked.html")).words["What mattered"]
    assert "PED-ANOVA, from 12 finished trials" in words
    assert words.index("learning_rate_multiplier") < words.index("frozen_fraction")


def test_settings_that_few_trials_had_are_no_reason_to_warn(run, here, recwarn):
    study = read_study(run)
    depth = optuna.distributions.FloatDistribution(0.0, 1.0)
    for number in range(12):
        params = {"depth": number / 12} | ({"rare": 0.5} if number < 1 else {})
        study.add_trial(
            optuna.create_trial(params=params, distributions=dict.fromkeys(params, depth), value=number / 12)
        )
    assert main(["report", str(run)]) == 0
    assert "PED-ANOVA" in Page(run / "report.html").words["What mattered"]
    assert not [warning for warning in recwarn.list if "importance" in str(warning.message)]


def test_the_command_line_that_is_shown_asks_for_the_same(here, tmp_path):
    from autotl.cli.main import build_parser
    from autotl.cli.options import asked
    from autotl.config import SearchRequest, make_request

    (tmp_path / "a b.csv").write_text("x")
    given = make_request(
        "a b.csv", target="it's", image=("front", "the side"), text=["text", "a note"], pair=("one", "two"),
        group="who", weight_column="w",
        task="multiclass", metric="macro_f1", models=["zoo", "more"], offline=True,
        budget_seconds=2.592e6, max_memory="1.5GiB", max_latency="5ms", max_params="5M", max_size="20MB", seed=7,
        skip_unreadable=0.25, test="a b.csv", max_disk="2TB", licenses="mit,apache-2.0", set_aside="a b.csv",
        costs="a b.csv", portfolio="a b.csv", teacher="a b.csv", backbones=["one", "tiny/two"],
    )  # fmt: skip
    usual = SearchRequest(data="a b.csv")
    left = {name for name in SearchRequest.model_fields if getattr(given, name) == getattr(usual, name)}
    assert left == {"trials"}  # all others are to be found again
    options = build_parser().parse_args(shlex.split(command(given))[1:])
    again = make_request(**asked(options), portfolio=options.portfolio, budget_seconds=2.592e6)
    assert again == given
    assert options.budget == "2592000s"


def test_requests_of_before_there_were_several_images_are_read():
    from autotl.config import SearchRequest

    for written, read in ((None, ()), ("picture", ("picture",)), (["front", "side"], ("front", "side"))):
        assert SearchRequest.model_validate_json(json.dumps({"data": "table.csv", "image": written})).image == read


# -------------------------------------------------------------------- one trial, and runs beside each other


def test_a_trial_is_shown_with_what_became_of_it_and_how_to_get_it_again(run, here, capsys):
    assert main(["show", str(run), "0"]) == 0
    text = capsys.readouterr().out
    assert "finetune of tiny/one" in text
    assert "ran to its end" in text
    assert "learning_rate_multiplier" in text
    assert main(["show", str(run), "0", "--json", "--portfolio", "trial.json"]) == 0
    story = json.loads(capsys.readouterr().out)
    ended = next(e.data for e in read_events(run / "events.jsonl") if e.kind == "trial_ended")
    assert (story["state"], story["score"], story["seconds"]) == ("complete", ended["score"], ended["seconds"])
    assert story["curve"][-1]["score"] == ended["score"]
    assert "--trials 1 --seed 0" in story["again"]
    assert (run / story["weights"]).is_dir()
    assert story["latency"] > 0
    (entry,) = json.loads(Path("trial.json").read_text())["entries"]
    assert entry["settings"] == story["settings"]
    assert main(["show", str(run), "7"]) == 2
    assert "no trial 7; its trials are '0', '1'" in capsys.readouterr().err
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    before = next(number for number, line in enumerate(lines) if json.loads(line)["kind"] == "trial_started")
    (run / "events.jsonl").write_text("".join(lines[:before]), encoding="utf-8")
    assert main(["show", str(run), "0"]) == 2
    assert "no trial 0; it has none" in capsys.readouterr().err


def test_runs_are_compared_and_a_difference_of_data_or_split_is_told(run, here, tmp_path, capsys):
    def other(name, **changes):
        copy = shutil.copytree(run, tmp_path / name)
        (copy / "run.json").write_text(json.dumps(run_file(run) | changes), encoding="utf-8")
        return copy

    same, elsewhere = other("same", state="interrupted"), other("elsewhere", data_fingerprint="0")
    (same / "split.json").write_text("{}")
    assert main(["compare", str(run), str(same), str(elsewhere), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second, third = found["runs"]
    assert first["score"] == second["score"] == third["score"]
    assert (list(first["reached"]), list(second["reached"])) == (["same"], ["run"])
    assert 0 < first["reached"]["same"] <= first["seconds"]
    assert third["reached"] == {}
    assert len(found["warnings"]) == 3
    assert "same validated on other rows than run" in found["warnings"][0]
    assert "elsewhere searched other data than run" in found["warnings"][1]
    assert "same has not ended by itself" in found["warnings"][2]
    assert main(["compare", str(run), str(elsewhere)]) == 0
    assert "cannot be compared" in capsys.readouterr().out
    assert main(["compare", str(run), str(tmp_path)]) == 2


def test_the_last_screen_counts_models_as_the_card_does_and_says_how_far_off_forecasts_were(run, capsys):
    assert main(["watch", str(run)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"for choosing among {read_card(find_bundle(run)).chosen_among} model" in shown
    assert re.search(r"Trials were off their forecast by \d+% \(median\)", shown)
