"""What Hugging Face's `datasets` writes, read without that library: folders (``Dataset.save_to_disk``), and what it
notes of its columns in Parquet files.
"""

from __future__ import annotations

import json
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
    return {name: _as_described(folder.name, name, cells, features.get(name)) for name, cells in columns.items()}


def noted_features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """The descriptions of columns in the metadata of a Parquet file; none where others wrote it."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def with_names(name: str, columns: Mapping[str, list[Any]], features: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Columns with the names of classes in place of their codes; what holds no codes any more stays.

    Raises `DataError` for a code without a name. name: of the file.
    """
    return {
        column: _as_named(name, column, cells, features.get(column)) if all(map(_is_code, cells)) else cells
        for column, cells in columns.items()
    }


def _is_code(cell: Any) -> bool:
    return cell is None or isinstance(cell, int) or (isinstance(cell, list) and all(map(_is_code, cell)))


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


def _as_described(name: str, column: str, cells: list[Any], feature: Any) -> list[Any]:
    """Cells of a feature in the words of its description."""
    if isinstance(feature, Mapping) and feature.get("_type") == "Image":
        return [_path(name, column, row, cell) for row, cell in enumerate(cells, start=1)]
    return _as_named(name, column, cells, feature)


def _as_named(name: str, column: str, cells: list[Any], feature: Any) -> list[Any]:
    if not isinstance(feature, Mapping):
        return cells
    kind, inner = feature.get("_type"), feature.get("feature")
    if kind == "ClassLabel" and isinstance(feature.get("names"), list):
        return [_name(name, column, feature["names"], cell) for cell in cells]
    if kind in ("Sequence", "List") and isinstance(inner, Mapping) and inner.get("_type") == "ClassLabel":
        names = inner.get("names") or []
        return [None if cell is None else [_name(name, column, names, code) for code in cell] for cell in cells]
    return cells


def _name(source: str, column: str, names: list[Any], code: Any) -> str | None:
    if code is None or code == -1:  # how the library writes a label that is not known
        return None
    if not isinstance(code, int) or not 0 <= code < len(names):
        raise DataError(f"{source}: column {column!r} has the code {code}, and {len(names)} classes have names")
    return str(names[code])


def _path(source: str, column: str, row: int, cell: Any) -> str | None:
    if cell is None:
        return None
    path = cell.get("path") if isinstance(cell, Mapping) else None
    if isinstance(cell, Mapping) and cell.get("bytes") is not None:
        raise DataError(
            f"{source}: row {row}: the images of {column!r} lie in the data set itself. Write them to files, for "
            f"example: for i, row in enumerate(dataset): row[{column!r}].save(f'images/{{i}}.png')"
        )
    return None if path is None else str(path)
