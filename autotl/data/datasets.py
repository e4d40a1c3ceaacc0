"""Folders that Hugging Face's `datasets` writes (``Dataset.save_to_disk``), read without that library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.data.wording import listed
from autotl.errors import DataError
from autotl.untrusted import is_plain_name, read_object

if TYPE_CHECKING:
    import pyarrow as pa

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


def is_dataset(folder: Path) -> bool:
    """Whether the folder is such a data set, or several splits of one."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def read_dataset(folder: Path) -> dict[str, list[Any]]:
    """The columns of a data set: codes of classes become their names, and images their paths.

    Raises `DataError` for a folder of several splits, one whose files are torn, and images that lie in the data set.
    """
    import pyarrow as pa

    if (folder / _SPLITS).is_file():
        splits = sorted(entry.name for entry in folder.iterdir() if (entry / _STATE).is_file())
        train = next((name for name in splits if name.startswith("train")), splits[0] if splits else "train")
        raise DataError(f"{folder}: it holds the splits {listed(splits)}. Pass one, such as --data {folder / train}")
    try:
        state, info = read_object(folder / _STATE), read_object(folder / _INFO)
        names = [str(file["filename"]) for file in state["_data_files"]]
        if not names or not all(map(is_plain_name, names)):
            raise ValueError("its files do not lie in it")
        tables = [_stream(folder / name) for name in names]
        features = info.get("features") or {}
        table = pa.concat_tables(tables)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{folder} is not a readable data set of Hugging Face's datasets ({reason})") from error
    if state.get("_indices_files"):
        raise DataError(f"{folder}: it is a selection of rows. Write it with dataset.flatten_indices().save_to_disk(…)")
    columns = plain_columns(table, folder.name)
    return {name: _as_named(folder, name, cells, features.get(name)) for name, cells in columns.items()}


def plain_columns(table: pa.Table, name: str) -> dict[str, list[Any]]:
    """Columns of Arrow as Python's values. Raises `DataError` naming the column that cannot be had so."""
    import pyarrow as pa

    columns = {}
    for column in table.column_names:
        try:
            columns[column] = table.column(column).to_pylist()
        except (pa.ArrowException, ValueError, OverflowError) as error:  # text that is not UTF-8, dates beyond Python's
            raise DataError(
                f"{name}: column {column!r} holds what cannot be read ({error}). Mend it, or leave the column out."
            ) from error
    return columns


def _stream(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def _as_named(folder: Path, column: str, cells: list[Any], feature: Any) -> list[Any]:
    """Cells of a feature in the words of its description."""
    if not isinstance(feature, Mapping):
        return cells
    kind, inner = feature.get("_type"), feature.get("feature")
    if kind == "ClassLabel" and isinstance(feature.get("names"), list):
        return [_name(folder, column, feature["names"], cell) for cell in cells]
    if kind in ("Sequence", "List") and isinstance(inner, Mapping) and inner.get("_type") == "ClassLabel":
        names = inner.get("names") or []
        return [None if cell is None else [_name(folder, column, names, code) for code in cell] for cell in cells]
    if kind == "Image":
        return [_path(folder, column, row, cell) for row, cell in enumerate(cells, start=1)]
    return cells


def _name(folder: Path, column: str, names: list[Any], code: Any) -> str | None:
    if code is None or code == -1:  # how the library writes a label that is not known
        return None
    if not isinstance(code, int) or not 0 <= code < len(names):
        raise DataError(f"{folder.name}: column {column!r} has the code {code}, and {len(names)} classes have names")
    return str(names[code])


def _path(folder: Path, column: str, row: int, cell: Any) -> str | None:
    if cell is None:
        return None
    path = cell.get("path") if isinstance(cell, Mapping) else None
    if isinstance(cell, Mapping) and cell.get("bytes") is not None:
        raise DataError(
            f"{folder.name}: row {row}: the images of {column!r} lie in the data set itself. Write them to files, for "
            f"example: for i, row in enumerate(dataset): row[{column!r}].save(f'images/{{i}}.png')"
        )
    return None if path is None else str(path)
