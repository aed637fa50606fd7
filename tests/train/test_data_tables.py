from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwgan.train import ConfigError, Data
from fastwgan.train.data.table_layout import TableLayout
from fastwgan.train.data.tables import from_frame

ROWS = 60
RANDOM = np.random.default_rng(0)


def _back(data: Data, frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A table after the way through features and a checkpoint."""
    assert data.table is not None
    torch.save(data.table.to_dict(), folder / "layout.pt")
    layout = TableLayout.from_dict(torch.load(folder / "layout.pt", weights_only=True))
    assert layout == data.table
    features = layout.encode(frame)
    assert features.shape == (len(frame), *data.shape)
    assert features.dtype == torch.float32
    back: pd.DataFrame = layout.frame(features, layout.labels(frame))
    return back


def _some_missing(values: list[Any]) -> list[Any]:
    return [None if row % 7 == 3 else value for row, value in enumerate(values)]


_WHOLE = [int(value) for value in RANDOM.integers(-40, 90, ROWS)]
_DAYS = [datetime.date(2020, 2, 1) + datetime.timedelta(days=3 * value) for value in _WHOLE]
_TIMES = [pd.Timestamp("2021-03-28 00:30") + pd.Timedelta(minutes=value) for value in _WHOLE]
_TEXTS = [("low", "mid, or so", 'a "quoted" ü')[value % 3] for value in _WHOLE]

COLUMNS: dict[str, pd.Series] = {
    "int64": pd.Series(_WHOLE),
    "int8": pd.Series(_WHOLE, dtype="int8"),
    "uint64": pd.Series([2**64 - 1 - abs(value) for value in _WHOLE], dtype="uint64"),
    "whole ends": pd.Series([(-(2**63), 2**63 - 1)[value % 2] for value in _WHOLE]),
    "steps of a thousand": pd.Series([1000 * value + 7 for value in _WHOLE]),
    "Int64": pd.Series(_some_missing(_WHOLE), dtype="Int64"),
    "UInt8": pd.Series(_some_missing([abs(value) for value in _WHOLE]), dtype="UInt8"),
    "prices": pd.Series([value * 123 / 100 for value in _WHOLE]),
    "heavy tail": pd.Series([round(1.1 ** max(value, 0), 1) for value in _WHOLE]),
    "whole floats": pd.Series([float(value) for value in _WHOLE]),
    "missing floats": pd.Series(_some_missing([value / 8 for value in _WHOLE]), dtype="float64"),
    "Float64": pd.Series(_some_missing([value / 8 for value in _WHOLE]), dtype="Float64"),
    "bool": pd.Series([value > 0 for value in _WHOLE]),
    "boolean": pd.Series(_some_missing([value > 0 for value in _WHOLE]), dtype="boolean"),
    "bools as objects": pd.Series(_some_missing([value > 0 for value in _WHOLE]), dtype=object),
    "texts": pd.Series(_TEXTS),
    "missing texts": pd.Series(_some_missing(_TEXTS)),
    "texts as objects": pd.Series(_some_missing(_TEXTS), dtype=object),
    "string": pd.Series(_some_missing(_TEXTS), dtype="string"),
    "category": pd.Series(pd.Categorical(_TEXTS, categories=[*sorted(set(_TEXTS)), "unseen"])),
    "ordered": pd.Series(
        pd.Categorical(_some_missing(_TEXTS), categories=sorted(set(_TEXTS))[::-1], ordered=True)
    ),
    "whole categories": pd.Series(pd.Categorical([value % 4 for value in _WHOLE])),
    "true categories": pd.Series(pd.Categorical([value > 0 for value in _WHOLE])),
    "time categories": pd.Series(pd.Categorical([_TIMES[value % 2] for value in _WHOLE])),
    "times": pd.Series(_TIMES),
    "seconds": pd.Series(_TIMES, dtype="datetime64[s]"),
    "nanoseconds": pd.Series(_TIMES, dtype="datetime64[ns]"),
    "missing times": pd.Series(_some_missing(_TIMES)),
    "zoned": pd.Series(_TIMES).dt.tz_localize("UTC").dt.tz_convert("Europe/Rome"),
    "offset": pd.Series(_TIMES).dt.tz_localize("UTC").dt.tz_convert("+05:30"),
    "durations": pd.Series([pd.Timedelta(minutes=value) for value in _WHOLE]),
    "dates": pd.Series(_DAYS),
    "missing dates": pd.Series(_some_missing(_DAYS), dtype=object),
    "arrow": pd.Series(_WHOLE, dtype="int64[pyarrow]"),
    "constant": pd.Series([5] * ROWS),
    "constant float": pd.Series([0.1 + 0.2] * ROWS),
    "constant text": pd.Series(["same"] * ROWS),
    "constant time": pd.Series([pd.Timestamp("2020-02-29 12:34:56.789")] * ROWS),
    "constant or missing": pd.Series(_some_missing([0.1 + 0.2] * ROWS), dtype="float64"),
    "all missing": pd.Series([None] * ROWS, dtype="float64"),
    "all missing texts": pd.Series([None] * ROWS, dtype=object),
}
EVERYTHING = pd.DataFrame(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_exactly(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({name: COLUMNS[name], "varies": _WHOLE})
    pd.testing.assert_frame_equal(
        _back(from_frame(frame), frame, tmp_path), frame, check_exact=True
    )


@pytest.mark.parametrize("kind", ["float64", "float32", "float16"])
def test_floats_come_back_to_rounding(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"x": (100 + RANDOM.normal(size=ROWS)).astype(kind)})
    back = _back(from_frame(frame), frame, tmp_path)
    pd.testing.assert_frame_equal(back, frame, check_exact=False, rtol=0, atol=1e-6)
    assert back.dtypes.equals(frame.dtypes)


def test_a_whole_table_keeps_its_order(tmp_path: Path) -> None:
    data = from_frame(EVERYTHING)
    assert data.table is not None
    pd.testing.assert_frame_equal(_back(data, EVERYTHING, tmp_path), EVERYTHING, check_exact=True)
    assert len(data.table.feature_names) == data.table.features == data.shape[0]
    assert len(set(data.table.feature_names)) == data.table.features
    assert not any(name.startswith("constant f") for name in data.table.feature_names)


def _is_number(text: str) -> bool:
    return bool(pd.to_numeric(pd.Series([text]), errors="coerce").notna().all())


_FINITE = st.floats(-1e12, 1e12, allow_nan=False, width=64)
_VALUES = {
    "int64": st.integers(-(2**18), 2**18),
    "Int64": st.none() | st.integers(-(2**18), 2**18),
    "float64": st.none() | _FINITE,
    "bool": st.booleans(),
    "string": st.none() | st.text(max_size=4).filter(lambda text: not _is_number(text)),
    "category": st.none() | st.sampled_from(["a", "b", "", "nan"]),
    "datetime64[s]": st.none()
    | st.datetimes(datetime.datetime(1900, 1, 1)).map(
        lambda time: time.replace(hour=0, minute=0, second=0, microsecond=0)
    ),
}


@st.composite
def _tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(2, 40))
    kinds = draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=5))
    columns = {
        f"{number} {kind}": pd.Series(
            draw(st.lists(_VALUES[kind], min_size=rows, max_size=rows)), dtype=kind
        )
        for number, kind in enumerate(kinds)
    }
    return pd.DataFrame({**columns, "row": range(rows)})


@given(frame=_tables())
def test_any_table_comes_back(tmp_path: Path, frame: pd.DataFrame) -> None:
    data = from_frame(frame)
    back = _back(data, frame, tmp_path)
    assert back.dtypes.equals(frame.dtypes)
    assert list(back.columns) == list(frame.columns)
    for name in frame.columns:
        if not name.endswith("float64"):
            pd.testing.assert_series_equal(back[name], frame[name], check_exact=True)
            continue
        # An asinh of at most 60 has an error of 2 ** -19 at most, and so has its sinh, relatively.
        assert back[name].isna().equals(frame[name].isna())
        size = (frame[name].max() - frame[name].min()) * 2.0**-19
        assert ((back[name] - frame[name]).abs().max() <= size) or frame[name].isna().all()


@given(frame=_tables(), seed=st.integers(0, 999), size=st.sampled_from([1.0, 1e3, 1e30]))
def test_any_sample_is_a_row_within_what_was_seen(
    frame: pd.DataFrame, seed: int, size: float
) -> None:
    layout = from_frame(frame).table
    assert layout is not None
    random = torch.Generator().manual_seed(seed)
    drawn = layout.frame(size * torch.randn(50, layout.features, generator=random))
    assert drawn.dtypes.equals(frame.dtypes)
    for name in frame.columns:
        seen, found = frame[name].dropna(), drawn[name].dropna()
        if frame[name].notna().all():
            assert len(found) == 50
        if pd.api.types.is_any_real_numeric_dtype(seen.dtype) and len(found):
            assert seen.min() <= found.min()
            assert found.max() <= seen.max()
        elif name.split()[1] != "datetime64[s]":
            assert set(found) <= set(seen)


def test_features_are_of_unit_size() -> None:
    frame = pd.DataFrame(
        {
            "years": RANDOM.normal(1990, 12, 1000).round(),
            "income": np.exp(RANDOM.normal(10, 2.5, 1000)),
            "mostly nothing": np.where(RANDOM.random(1000) < 0.98, 0.0, 7.0),
        }
    )
    values = from_frame(frame).values
    assert values.median(0).values.abs().max() < 0.1
    assert values.abs().max() < 10
    assert values[:, :2].std(0, correction=0).min() > 0.4


def test_what_is_drawn_stays_on_the_grid_of_the_data() -> None:
    frame = pd.DataFrame({"price": [0.25, 10.5, 3.0, 7.75], "weight": [100, 250, 400, 100]})
    layout = from_frame(frame).table
    assert layout is not None
    drawn = layout.frame(torch.randn(500, 2))
    assert set(drawn["weight"]) == {100, 250, 400}
    assert ((drawn["price"] * 4) % 1 == 0).all()
    assert drawn["price"].nunique() > 20


def test_whole_numbers_too_many_for_float32_are_noted() -> None:
    frame = pd.DataFrame({"id": RANDOM.integers(0, 2**62, ROWS), "x": _WHOLE})
    _, note = from_frame(frame).notes
    assert note.startswith("Values of id span more steps than float32 can tell apart, and come")
    layout = from_frame(frame).table
    assert layout is not None
    back = layout.frame(layout.encode(frame))
    assert (back["id"] - frame["id"]).abs().max() < 2.0**62 * 2**-20


def test_missing_values_are_kept_and_noted() -> None:
    frame = pd.DataFrame({"x": _some_missing(_WHOLE), "y": _WHOLE})
    data = from_frame(frame)
    missing = sum(value is None for value in _some_missing(_WHOLE))
    assert data.notes[1:] == (
        f"Of {ROWS} rows values are missing, as they will be of samples: x in {missing}.",
    )
    assert data.table is not None
    assert data.table.feature_names == ("x", "x is missing", "y")
    drawn = data.table.frame(torch.tensor([[0.5, 0.9, 0.0], [0.5, 0.1, 0.0]]))
    assert drawn["x"].isna().tolist() == [True, False]


def test_a_table_has_a_fingerprint_of_its_columns_too() -> None:
    frame = pd.DataFrame({"x": _WHOLE})
    prints = {from_frame(each).fingerprint() for each in (frame, frame.rename(columns={"x": "y"}))}
    prints.add(from_frame(frame + 1).fingerprint())
    assert len(prints) == 3
    assert from_frame(frame.copy()).fingerprint() in prints


@pytest.mark.parametrize("name", ["texts", "int64", "bool", "whole categories", "zoned"])
def test_a_column_may_hold_the_labels(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": _WHOLE, name: COLUMNS[name], "b": _TEXTS})
    data = from_frame(frame, label_column=name)
    assert data.table is not None
    assert data.labels is not None
    assert not any(feature.startswith(name) for feature in data.table.feature_names)
    assert len(data.classes) == frame[name].nunique()
    assert set(data.classes) == {str(value) for value in frame[name]}
    back = _back(data, frame, tmp_path)
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    unlabelled = data.table.frame(data.table.encode(frame))
    pd.testing.assert_frame_equal(unlabelled, frame.drop(columns=name), check_exact=True)


def test_labels_are_of_their_rows() -> None:
    frame = pd.DataFrame(
        {"x": range(200), "y": [("odd", "even")[row % 2 == 0] for row in range(200)]}
    )
    data = from_frame(frame, label_column="y")
    assert data.table is not None
    assert data.labels is not None
    rows = data.table.frame(data.values, data.labels)
    assert ((rows["x"] % 2 == 0) == (rows["y"] == "even")).all()


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (
            "colr",
            r"^label_column was 'colr' \(did you mean color\?\); it must be one of x, color, ",
        ),
        ("gap", r"^label_column was 'gap', which is missing in 9 rows of 60: fill it in, or leave"),
        ("many", r"^label_column was 'many', which holds 200 different values, more than 128\.$"),
    ],
)
def test_a_label_column_that_cannot_be_is_one_sentence(label: str, sentence: str) -> None:
    rows = 200 if label == "many" else ROWS
    frame = pd.DataFrame(
        {
            "x": range(rows),
            "color": ["red", "blue"] * (rows // 2),
            "gap": [None if row % 7 == 3 else "a" for row in range(rows)],
            "many": np.arange(rows) / 2,
        }
    )
    with pytest.raises(ConfigError, match=sentence):
        from_frame(frame, label_column=label)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ([f"name {row}" for row in range(200)], "x holds 200 different texts, more than 128"),
        ([str(row) if row % 5 else f"?{row}" for row in range(200)], "its numbers stands '?0'"),
        (
            [str(row) if row != 3 else "?" for row in range(200)],
            "x holds 199 numbers and '?' in row 4 below the header (mend it or leave that cell "
            "empty; a column of categories must have that type in a .parquet).",
        ),
        (
            [None, "n/a", *(str(row % 7) for row in range(197)), "q" * 99],
            "x holds 197 numbers and 2 texts, the first 'n/a' in row 2 below the header (mend "
            "them or leave those cells empty;",
        ),
        ([*(str(row % 7) for row in range(199)), "q" * 99], f"and '{'q' * 40}…' in row 200 below"),
        ([2.0**row for row in range(199)] + [np.inf], "x is infinite in 1 row"),
        ([-1e308] * 100 + [1e308] * 100, "ranges from -1e+308 to 1e+308, too wide to be scaled"),
        ([[1, 2]] * 200, "x holds values of type mixed"),
        ([1j] * 200, "x holds values of type complex128"),
        ([2**70] * 200, "x holds values of type integer"),
        (pd.period_range("2020", periods=200, freq="D"), "x holds values of type period[D]"),
        ([1, "a"] * 100, "x holds values of type mixed-integer"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(column: Any, problem: str) -> None:
    frame = pd.DataFrame({"x": column, "fine": range(200)})
    with pytest.raises(ConfigError) as caught:
        from_frame(frame)
    assert str(caught.value).startswith(
        "data was table, where 1 column can't be used, and must be left out or changed: x "
    )
    assert problem in str(caught.value)


def test_all_columns_that_cannot_be_used_are_named_at_once() -> None:
    frame = pd.DataFrame({"a": [[]] * 9, "fine": range(9), "b": [1j] * 9})
    with pytest.raises(ConfigError, match=r"2 columns can't be used, .*: a holds .*; b holds "):
        from_frame(frame)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (pd.DataFrame({"x": []}), "which holds 0 rows; it must hold at least two"),
        (pd.DataFrame({"x": [1]}), "which holds 1 row; it must hold at least two"),
        (pd.DataFrame({"x": [1, 1], "y": "a"}), "where no column but the labels' varies"),
        (pd.DataFrame([[1, 2]] * 3, columns=["x", "x"]), "has more than one column named x"),
        (pd.DataFrame([[1, 2]] * 3), "whose columns must have texts for names, but 0, 1"),
    ],
)
def test_a_table_that_cannot_be_is_one_sentence(frame: pd.DataFrame, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_frame(frame)
    assert problem in str(caught.value)


def test_an_index_is_left_out_with_a_note() -> None:
    frame = pd.DataFrame({"x": _WHOLE}, index=pd.Index(_TEXTS))
    assert from_frame(frame).notes[1:] == (
        "The table's index was left out: make it a column to imitate it too.",
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["1"] * 9 + ["x"],  # too few to tell
        ["1"] * 89 + ["x"] * 11,
        ["1", "2"] * 50,  # digits that are texts on purpose
        [None] * 80 + ["1"] * 15 + ["x", "y"],
    ],
)
def test_texts_of_which_some_look_like_numbers_are_categories(texts: list[str]) -> None:
    layout = from_frame(pd.DataFrame({"x": texts, "y": range(len(texts))})).table
    assert layout is not None
    different = sorted({text for text in texts if text is not None})
    assert [f"x={text}" for text in different] == [
        name for name in layout.feature_names if name.startswith("x=")
    ]


def test_numbers_and_texts_may_be_categories_and_labels() -> None:
    texts = ["1", "2", "3"] * 20 + ["4+"]
    frame = pd.DataFrame({"x": texts, "kind": pd.Categorical(texts), "y": range(61)})
    data = from_frame(frame, label_column="x")
    assert data.classes == ("1", "2", "3", "4+")
    assert data.table is not None
    assert data.table.feature_names == ("kind=1", "kind=2", "kind=3", "kind=4+", "y")


def test_what_each_column_is_taken_for_is_noted() -> None:
    frame = pd.DataFrame(
        {
            "age": [18, 91, 40],
            "price": [0.25, 1e-9, 12345.678],
            "gap": pd.Series([7, None, 9], dtype="Int64"),
            "city": ["Rome", "Oslo", "Bonn"],
            "member": [True, False, True],
            "joined": pd.to_datetime(["2020-01-05", "2021-12-31", "2021-01-01"]),
            "at": pd.to_datetime(["2020-01-05 10:00", "2020-01-05 10:30", "2020-01-06 00:00"]),
            "born": [datetime.date(1990, 1, 2), datetime.date(2000, 3, 4), None],
            "same": "x",
            "none": pd.Series([None] * 3, dtype="float64"),
            "kind": ["a", "b", "a"],
        }
    )
    assert from_frame(frame, label_column="kind").notes[0] == (
        "Columns: age: numbers 18 to 91 · price: numbers 1e-09 to 12345.7 · gap: numbers 7 to 9 · "
        "city: 3 categories · member: 2 categories · joined: dates 2020-01-05 to 2021-12-31 · "
        "at: times 2020-01-05 10:00:00 to 2020-01-06 · born: dates 1990-01-02 to 2000-03-04 · "
        "same: constant · none: all missing · kind: the labels, 2 classes."
    )
    wide = pd.DataFrame({f"c{number}": [1, 2] for number in range(25)})
    assert from_frame(wide).notes[0].endswith(" · c19: numbers 1 to 2 and 5 more.")


def test_values_far_beyond_all_others_are_noted() -> None:
    ages = pd.Series(RANDOM.integers(18, 90, 1000))
    ages[416] = 999_999
    frame = pd.DataFrame({"age": ages, "x": range(1000)})
    _, note = from_frame(frame).notes
    assert re.fullmatch(
        "Far beyond all others, and perhaps slips, are age 999999 in row 417 below the header, "
        r"2\d,\d{3} times as far from the median as the rest\. Mend them or leave those cells "
        r"empty\.",
        note,
    )
    ages[[3, 700]] = 999_999
    when = pd.Series(pd.date_range("2020", periods=1000)).astype("datetime64[s]")
    when[5] = pd.Timestamp("9999-12-31")
    _, note = from_frame(frame.assign(age=ages, when=when)).notes
    assert "are age 999999 in row 4 below the header and 2 more rows, " in note
    assert "; when 9999-12-31 in row 6 below the header, " in note
    ages[:20] = 999_999  # too many for slips
    assert len(from_frame(frame.assign(age=ages)).notes) == 1


@pytest.mark.parametrize(
    "values",
    [
        np.exp(RANDOM.normal(10, 2.5, 1000)),
        np.where(np.arange(1000) < 10, 7.0, 0.0),
        np.append(RANDOM.normal(size=999), 60),
    ],
)
def test_heavy_tails_are_no_slips(values: Any) -> None:
    assert len(from_frame(pd.DataFrame({"x": values})).notes) == 1
