"""Folders of Hugging Face's datasets, as that library writes them."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotl.data.inspection import inspect_table
from autotl.data.tables import read_table
from autotl.errors import DataError

TEXTS = [f"some words of row {row}" for row in range(40)]
CLASSES = {"names": ["bad", "good"], "_type": "ClassLabel"}


def written(folder, columns, features, **state):
    """As `Dataset.save_to_disk` does: an Arrow stream, its features and its files."""
    folder.mkdir(parents=True)
    table = pa.table(columns)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    files = [{"filename": "data-00000-of-00001.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_indices_files": None, **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.mark.parametrize("noted", [b'{"info": {"features": []}}', b"{", b"[]"])
def test_codes_in_parquet_become_the_names_that_the_library_noted(tmp_path, noted):
    codes = [0, 1] * 19 + [-1, None]
    table, file = pa.table({"text": TEXTS, "label": codes}), tmp_path / "reviews.parquet"
    features = {"huggingface": json.dumps({"info": {"features": {"label": CLASSES}}})}
    pq.write_table(table.replace_schema_metadata(features), file)
    found = inspect_table(file)
    assert (found.task.classes, len(found.kept)) == (("bad", "good"), 38)
    pq.write_table(table.replace_schema_metadata({b"huggingface": noted}), file)
    assert set(read_table(file).column("label")) == {-1, 0, 1, None}
    words = table.set_column(1, "label", pa.array(["poor", "fine"] * 20))
    pq.write_table(words.replace_schema_metadata(features), file)
    assert inspect_table(file).task.classes == ("fine", "poor")


def test_codes_become_the_names_of_classes(tmp_path):
    codes = [0, 1] * 19 + [-1, None]
    folder = written(tmp_path / "reviews", {"text": TEXTS, "label": codes}, {"label": CLASSES})
    found = inspect_table(folder)
    assert (found.task.classes, len(found.kept)) == (("bad", "good"), 38)
    assert found.table.column("label")[:3] == ["bad", "good", "bad"]


def test_lists_of_codes_become_labels(tmp_path):
    features = {"labels": {"feature": CLASSES, "_type": "List"}}
    folder = written(tmp_path / "tags", {"text": TEXTS, "labels": [[0], [0, 1], [], [1]] * 10}, features)
    found = inspect_table(folder)
    assert (found.task.kind, found.task.classes) == ("multilabel", ("bad", "good"))


def test_images_are_their_paths(tmp_path):
    images = [{"bytes": None, "path": f"images/{row}.png"} for row in range(40)]
    features = {"image": {"_type": "Image"}, "label": CLASSES}
    folder = written(tmp_path / "photos", {"image": images, "label": [0, 1] * 20}, features)
    assert read_table(folder).column("image")[:2] == ["images/0.png", "images/1.png"]


REFUSED = {
    "a code without a name": ({"text": TEXTS, "label": [0, 2] * 20}, {"label": CLASSES}, {}, "code 2, and 2 classes"),
    "images inside": (
        {"image": [{"bytes": b"png", "path": None}] * 40}, {"image": {"_type": "Image"}}, {}, "row 1: the images",
    ),
    "a selection": ({"text": TEXTS}, {}, {"_indices_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
    "files elsewhere": ({"text": TEXTS}, {}, {"_data_files": [{"filename": "../../etc/passwd"}]}, "do not lie in it"),
    "no files": ({"text": TEXTS}, {}, {"_data_files": []}, "not a readable data set"),
    "a state of another form": ({"text": TEXTS}, {}, {"_data_files": 7}, "not a readable data set"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "features", "state", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path, columns, features, state, message):
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path / "set", columns, features, **state))


def test_half_of_a_file_is_refused(tmp_path):
    folder = written(tmp_path / "set", {"text": TEXTS}, {})
    file = folder / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:150])
    with pytest.raises(DataError, match="not a readable data set"):
        read_table(folder)


def test_splits_are_to_be_named(tmp_path):
    for split in ("test", "train"):
        written(tmp_path / "set" / split, {"text": TEXTS}, {})
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"splits 'test', 'train'.*--data .*set/train"):
        read_table(tmp_path / "set")
