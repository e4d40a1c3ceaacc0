"""The corpus of times, sizes and numbers that are none: each is refused with an example of one that is."""

from __future__ import annotations

import math
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autotl
from autotl.budget import LONGEST, SHORTEST, parse_budget
from autotl.config import LEAST_MEMORY, parse_count, parse_latency, parse_memory, parse_size
from autotl.errors import BudgetError, DataError

NINES = "9" * 400

REFUSED = {
    parse_budget: (
        "write 30s, 5m",
        ["", " ", "soon", "5x", "-5m", "+5m", "m", "5m5m", "1e3", "nan", "inf", "5,5m", "0x10", "5m later", "٣m!"],
    ),
    parse_size: (
        "write 6GB",
        ["", "lots", "-1GB", "5", "5 apples", "0GB", "0.0001KB", "6,5GB", "1e9GB", "nanGB", "infGB", f"{NINES}GB"],
    ),
    parse_count: ("write 5M", ["", "many", "-3M", "5m", "0", "0.5", "5 M B", "1e6", "nan", "inf", NINES, f"{NINES}G"]),
    parse_latency: ("write 5ms", ["", "5", "fast", "-3ms", "0ms", "0.0s", "5 minutes", "nans", "infs", f"{NINES}s"]),
}  # fmt: skip
CASES = [(parse, text, words) for parse, (words, texts) in REFUSED.items() for text in texts]


@pytest.mark.parametrize(("parse", "text", "words"), CASES, ids=[f"{p.__name__} {t[:9]!r}" for p, t, _ in CASES])
def test_what_is_none_is_refused_with_an_example(parse, text, words):
    with pytest.raises(BudgetError, match=words) as refusal:
        parse(text)
    assert len(str(refusal.value)) < 200


RANGES = {
    parse_budget: (SHORTEST, LONGEST),
    parse_size: (1, math.inf),
    parse_memory: (LEAST_MEMORY, math.inf),
    parse_count: (1, math.inf),
    parse_latency: (0, math.inf),
}
UNITS = ["", "s", "m", "h", "d", "ms", "k", "K", "M", "MB", "G", "GB", "GiB", "T", "TiB"]
NUMBERS = st.one_of(st.text("0123456789.", max_size=5), st.integers(0, 10**400).map(str), st.text(max_size=4))
WRITTEN = st.tuples(NUMBERS, st.sampled_from(["", " "]), st.sampled_from(UNITS))


@pytest.mark.parametrize("parse", RANGES)
@given(text=st.one_of(st.text(max_size=12), WRITTEN.map("".join)))
def test_any_text_is_a_number_in_its_range_or_refused(parse, text):
    least, most = RANGES[parse]
    try:
        number = parse(text)
    except BudgetError:
        return
    assert least <= number <= most
    assert number not in (0, math.inf)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"skip_unreadable": 5}, "skip-unreadable 5"),
        ({"skip_unreadable": math.nan}, "skip-unreadable nan"),
        ({"skip_unreadable": "few"}, "skip-unreadable 'few'"),
        ({"trials": 0}, "0 trials"),
        ({"seed": -1}, "seed -1"),
        ({"budget": 5}, "'5'"),
        ({"budget": math.inf}, "'inf'"),
        ({"max_size": "0MB"}, "'0MB'"),
    ],
)
def test_options_of_fit_are_refused_before_the_table_is_read(options, words):
    with pytest.raises(BudgetError, match=words):
        autotl.fit("there/is/no.csv", **options)


@pytest.mark.parametrize("name", ["costs", "set_aside", "portfolio", "teacher"])
def test_what_fit_takes_as_a_path_alone_is_refused_by_its_name(name):
    table = pd.DataFrame({"a": [0]})
    written = f'{name} is a path, not a pandas.DataFrame. Write it to a file: {name}.to_csv("{name}.csv")'
    for other, said in ((table, written), (7, f"{name} is a path, not an int. Give that of a file or a folder")):
        with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
            autotl.fit("there/is/no.csv", **{name: other})
