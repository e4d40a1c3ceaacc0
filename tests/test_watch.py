"""`autotl watch`: runs that have ended, were killed, go on, or have not begun."""

from __future__ import annotations

import json
import threading
import time

import pytest

from autotl.cli.main import main
from autotl.config import SearchRequest
from autotl.events import EventLog, EventTail, read_events
from autotl.search.engine import Search
from autotl.search.lock import RunLock, is_held


@pytest.fixture
def run(here, table, zoo, tmp_path):
    """Starts a search of one trial in a thread and returns it."""
    folder = tmp_path / "run"

    def search():
        Search(SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=1), folder).run()

    return threading.Thread(target=search)


def test_a_run_that_has_not_begun_is_followed_to_its_end_and_shown_again(run, tmp_path, capsys):
    watching = threading.Timer(0.3, run.start)
    watching.start()
    assert main(["watch", str(tmp_path / "run"), "--json"]) == 0
    watching.join()
    run.join()
    out, err = capsys.readouterr()
    assert "waiting" in err
    assert out == (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert json.loads(out.splitlines()[-1])["kind"] == "finished"

    assert main(["watch", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "best so far" in err
    assert "autotl predict" in out


def test_what_is_added_is_shown_until_nobody_works_there(tmp_path, capsys):
    begun = threading.Event()

    def work():
        lock, log = RunLock(tmp_path), EventLog(tmp_path / "events.jsonl", lambda: 1.0, [])
        log.emit("note", text="first")
        begun.set()
        time.sleep(0.4)
        log.emit("note", text="second")
        log.close()
        lock.release()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(5)
    assert main(["watch", str(tmp_path)]) == 0
    thread.join()
    err = capsys.readouterr().err
    assert err.index("first") < err.index("second") < err.index("ended without a model")


def test_a_killed_process_holds_nothing(tmp_path):
    folder = tmp_path
    lock, log = RunLock(folder), EventLog(folder / "events.jsonl", lambda: 1.0, [])
    log.emit("note", text="first")
    log.close()
    assert is_held(folder)
    known = json.loads((folder / ".lock.json").read_text())
    (folder / ".lock.json").write_text(json.dumps(known | {"process": 2**22 + 1}))  # above what Linux gives
    assert not is_held(folder)
    (folder / ".lock.json").write_text(json.dumps(known | {"host": "elsewhere"}))
    assert is_held(folder)
    (folder / ".lock.json").write_text("{")
    assert not is_held(folder)
    assert main(["watch", str(folder)]) == 0  # shows what there is, and ends
    lock.release()


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("precious")
    assert main(["watch", str(tmp_path)]) == 2
    assert main(["watch", str(tmp_path / "letter.txt")]) == 2
    assert "no run here" in capsys.readouterr().err


def test_tail_gives_whole_lines_once(tmp_path):
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.new() == []
    with path.open("w", encoding="utf-8") as file:
        for text in ('{"at": 1, "kind": "note", "text": "é"}\n', '{"at": 2, "kin', 'd": "note"}\n', "torn\n"):
            file.write(text)
            file.flush()
            time.sleep(0)
            found = tail.new()
            if text.endswith('"é"}\n'):
                assert [event.data["text"] for event in found] == ["é"]
            elif text.startswith('d"'):
                assert [event.at for event in found] == [2]
            else:
                assert found == []
    assert [event.at for event in read_events(path)] == [1, 2]
