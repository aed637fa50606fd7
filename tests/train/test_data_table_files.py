from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fastwgan.train import ConfigError, Data, load

TEXT = """\
age,income,city,member,since,gap,flag
31,1200.50,Rome,True,2020-01-05,3,True
45,3300.25,"Paris, France",False,2021-11-30,,
27,900.00,Rome,True,2019-07-14,8,False
60,5100.75,Oslo,False,2022-03-01,2,True
"""


def _load(folder: Path, content: str | bytes, **options: Any) -> Data:
    path = folder / "people.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(str(path), **options)


def _table(data: Data) -> pd.DataFrame:
    """The rows trained on as a table."""
    assert data.table is not None
    frame: pd.DataFrame = data.table.frame(data.values, data.labels)
    return frame


def test_a_csv_comes_back_as_it_was_written(tmp_path: Path) -> None:
    data = _load(tmp_path, TEXT)
    assert data.name == "people"
    assert not data.is_image
    frame = _table(data)
    kinds = frame.dtypes.astype(str).str.replace("[ns", "[us", regex=False)  # as pandas 2 has it
    assert kinds.to_dict() == {
        "age": "int64",
        "income": "float64",
        "city": "string",
        "member": "bool",
        "since": "datetime64[us]",
        "gap": "Int64",
        "flag": "boolean",
    }
    written = frame.to_csv(index=False)
    assert written == TEXT.replace(".50,", ".5,").replace(".00,", ".0,")
    assert data.notes == (
        "Columns: age: numbers 27 to 60 · income: numbers 900 to 5100.75 · city: 3 categories · "
        "member: 2 categories · since: dates 2019-07-14 to 2022-03-01 · gap: numbers 2 to 8 · "
        "flag: 2 categories.",
        "Of 4 rows values are missing, as they will be of samples: gap in 1, flag in 1.",
        "Nothing is held out of 4 samples, so that no distance is measured.",
    )


def test_a_slip_among_numbers_is_named(tmp_path: Path) -> None:
    ages = ["31", "45.5", "n/a", "", "NULL", *(str(row) for row in range(40)), "fourty", "50"]
    content = "x,age\n" + "".join(f"{row},{age}\n" for row, age in enumerate(ages))
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, content)
    assert str(caught.value) == (
        f"data was {tmp_path / 'people.csv'}, where 1 column can't be used, and must be left out "
        "or changed: age holds 43 numbers and 'fourty' in row 46 below the header (mend it or "
        "leave that cell empty; a column of categories must have that type in a .parquet)."
    )
    mended = _load(tmp_path, content.replace("fourty", ""))
    assert mended.table is not None
    assert mended.table.feature_names == ("x", "age", "age is missing")
    assert mended.notes[1].endswith(" samples: age in 4.")
    pd.read_csv(tmp_path / "people.csv", dtype="string", keep_default_na=False).to_parquet(
        tmp_path / "people.parquet"
    )
    with pytest.raises(ConfigError, match=r"age holds 43 numbers and 4 texts, the first 'n/a' in"):
        load(str(tmp_path / "people.parquet"))


# As docs/data.md lists them.
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"]


def test_spellings_of_missing_values_are_known(tmp_path: Path) -> None:
    rows = "".join(f"{row},{text},{text},7\n" for row, text in enumerate(MISSING))
    data = _load(tmp_path, f"x,number,text,y\n{rows}98,1,a,8\n99,2,b,9\n")
    count = len(MISSING)
    assert data.notes[1].endswith(f" samples: number in {count}, text in {count}.")
    assert {"number", "text=a", "text=b"} <= set(data.table.feature_names if data.table else ())
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert ", ".join(f"`{text}`" for text in MISSING[1:-1]) in " ".join(page.split())
    assert f"`{MISSING[-1]}`" in page


def test_a_fifth_of_the_rows_is_held_out(tmp_path: Path) -> None:
    data = _load(tmp_path, "x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(50)))
    assert data.held_out is not None
    assert data.table is not None
    assert len(data.held_out) == 10
    both = torch.cat((data.values, data.held_out))
    assert sorted(data.table.frame(both)["x"]) == list(range(50))


def test_a_column_of_the_file_may_hold_the_labels(tmp_path: Path) -> None:
    data = _load(tmp_path, TEXT, label_column="city")
    assert data.classes == ("Oslo", "Paris, France", "Rome")
    assert data.labels is not None
    assert data.labels.tolist() == [2, 1, 2, 0]
    assert list(_table(data).columns)[2] == "city"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + TEXT.encode(), TEXT.replace("\n", "\r\n")])
def test_files_of_windows_are_read(tmp_path: Path, content: str | bytes) -> None:
    assert _load(tmp_path, content).fingerprint() == _load(tmp_path, TEXT).fingerprint()


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (["2020-01-05", "2021-02-06"], "datetime64[us]"),
        (["2020-01-05T10:20", "2021-02-06T11:30"], "datetime64[us]"),
        (["2020-01-05 10:20:30.125Z", "2021-02-06 11:30:00Z"], "datetime64[us, UTC]"),
        (["2020-01-05T10:20:30+02:00", "2021-02-06T11:30:00+02:00"], "datetime64[us, UTC+02:00]"),
    ],
)
def test_times_are_recognised(tmp_path: Path, times: list[str], kind: str) -> None:
    frame = _table(_load(tmp_path, f"x,when\n0,{times[0]}\n1,{times[1]}\n"))
    assert str(frame["when"].dtype).replace("[ns", "[us") == kind  # pandas 2 has nanoseconds
    assert list(frame["when"]) == [pd.Timestamp(time) for time in times]


@pytest.mark.parametrize(
    "times",
    [
        ["2020-02-30", "2020-01-01"],
        ["2020-01-01", "tomorrow"],
        ["2020-01-01 10:00+01:00", "2020-01-01 10:00+02:00"],
    ],
)
def test_other_texts_stay_texts(tmp_path: Path, times: list[str]) -> None:
    frame = _table(_load(tmp_path, f"x,when\n0,{times[0]}\n1,{times[1]}\n"))
    assert frame["when"].tolist() == times


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"x,y\n", "which holds 0 rows; it must hold at least two"),
        (b"x,y\n1,2\n", "which holds 1 row; it must hold at least two"),
        ("x,n\n1,café\n2,thé\n".encode("latin-1"), "isn't UTF-8: it holds the byte 0xe9"),
        ("x,café\n1,1\n2,2\n".encode("latin-1"), "isn't UTF-8: it holds the byte 0xe9"),
        (b"x,y,x\n1,2,3\n4,5,6\n", "has more than one column named x"),
        (b"x,,z\n1,2,3\n4,5,6\n", "has no name for its column 2 in its first line"),
        (b"1,2\n3,4\n5,6\n", "has no header: its first line, 1, 2, must name the columns"),
        (b"x;y\n1;2\n3;4\n", "has the single column 'x;y'; columns must be separated by commas"),
        (b"x\ty\n1\t2\n3\t4\n", "columns must be separated by commas"),
        (b"x,y\n1,2\n3,4,5\n6,7\n", "can't be read as a table: "),
        (b"x,y\n1,2,3\n4,5,6\n", "can't be read as a table: "),
        (b'x,y\n1,"2\n3,4\n', "can't be read as a table: "),
        (b"x,y\n1,2\n1,2\n", "where no column but the labels' varies"),
        (b"x,y\n1,inf\n2,3.5\n3,4.5\n", "y is infinite in 1 row"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "isn't UTF-8: it holds the byte 0x89"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, content)
    sentence = str(caught.value)
    assert sentence.startswith(f"data was {tmp_path / 'people.csv'}, ")
    assert problem in sentence
    assert sentence.count("data was") == 1
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_numbers_of_many_digits_are_read(tmp_path: Path) -> None:
    data = _load(tmp_path, f"x,big\n1,{2**64 - 1}\n2,{2**63}\n3,{2**64 - 1}\n")
    frame = _table(data)
    assert frame["big"].tolist() == [2**64 - 1, 2**63, 2**64 - 1]


def test_numbers_of_many_digits_beside_missing_ones_are_texts(tmp_path: Path) -> None:
    frame = _table(_load(tmp_path, f"x,big\n1,{2**64 - 1}\n2,\n3,{2**63}\n4,{2**63}\n"))
    assert frame["big"].tolist() == [str(2**64 - 1), "", str(2**63), str(2**63)]


def test_numbers_beyond_64_bits_are_few_texts_or_named(tmp_path: Path) -> None:
    data = _load(tmp_path, f"x,big\n1,{2**70}\n2,5\n")
    assert _table(data)["big"].astype(str).tolist() == [str(2**70), "5"]
    rows = "".join(f"{row},{2**70 + row}\n" for row in range(200))
    with pytest.raises(ConfigError, match="big holds 200 different"):
        _load(tmp_path, "x,big\n" + rows)


def test_a_parquet_comes_back_with_its_types(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.Series([1, 2, 3], dtype="int16"),
            "gap": pd.Series([1, None, 2**60 + 1], dtype="Int64"),
            "kind": pd.Categorical(["b", "a", "b"], categories=["b", "a", "c"], ordered=True),
            "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-05"]).date,
            "when": pd.to_datetime(["2020-01-01", None, "2020-01-05"]).tz_localize("Asia/Tokyo"),
            "flag": pd.Series([True, None, False], dtype="boolean"),
            "text": ["x", None, "y"],
        }
    )
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    back = _table(load(str(path)))
    apart = ["gap", "text"]  # of text, releases of pandas differ in what is missing
    pd.testing.assert_frame_equal(back.drop(columns=apart), frame.drop(columns=apart))
    assert back["text"].fillna("").tolist() == ["x", "", "y"]
    assert back["gap"].dtype == "Int64"
    assert back["gap"].isna().tolist() == [False, True, False]


def test_whole_numbers_of_other_writers_stay_whole(tmp_path: Path) -> None:
    arrow, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table(
        {
            "u": arrow.array([1, None, 2**53 + 1, 9], arrow.uint64()),
            "b": arrow.array([True, None, False, True]),
            "d": arrow.array(["p", "q", "p", "q"]).dictionary_encode(),
        }
    )
    files.write_table(table, tmp_path / "rows.parquet")
    frame = _table(load(str(tmp_path / "rows.parquet")))
    assert frame.dtypes.astype(str).to_dict() == {"u": "UInt64", "b": "boolean", "d": "category"}
    assert frame["u"].isna().tolist() == frame["b"].isna().tolist() == [False, True, False, False]
    assert frame["u"].tolist()[2] == 2**53 + 1


def test_a_damaged_parquet_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"x": range(100)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ConfigError, match=r"^data was .*rows\.parquet, which can't be read as a ta"
    ):
        load(str(path))


def test_twice_the_same_column_of_a_parquet_is_one_sentence(tmp_path: Path) -> None:
    arrow, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.Table.from_arrays([arrow.array([1, 2])] * 2, names=["x", "x"])
    files.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match=r"rows\.parquet, which has more than one column named x"):
        load(str(tmp_path / "rows.parquet"))
