"""Asks the service about a table of texts: ``python client.py ADDRESS TABLE`` prints a class a row."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

#: Rows a request: the service computes them together, and a failure costs no more than these.
TOGETHER = 16


def main() -> None:
    address, table = sys.argv[1:]
    with Path(table).open(encoding="utf-8", newline="") as file:
        texts = [row["sentence"] for row in csv.DictReader(file)]
    for start in range(0, len(texts), TOGETHER):
        body = json.dumps({"texts": texts[start : start + TOGETHER]}).encode()
        request = Request(f"{address}/predict", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            for row in json.load(answer)["predictions"]:
                print(row["prediction"])


if __name__ == "__main__":
    main()
