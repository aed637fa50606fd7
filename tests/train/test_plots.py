from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from fastwgan.train import Data, TrainConfig, curves, fit, plots
from fastwgan.train.curves import curves_figure, distance_figure, panels, running_means
from fastwgan.train.figures import figure, plain, png
from fastwgan.train.marginals import Column, of_frames, of_vectors, table_figure
from fastwgan.train.pictures import fake_and_real
from fastwgan.train.run import Run
from fastwgan.train.tiles import columns, pair_figure, tile
from tests.train.settings import load, small
from tests.train.watched import Measured, lines, stop_at


def _pixels(content: bytes) -> Any:
    return imread(io.BytesIO(content))


@pytest.mark.parametrize(("data", "measure_every"), [("digits", 2), ("25gaussians", 0)])
def test_pictures_show_something(tmp_path: Path, data: str, measure_every: int) -> None:
    config = small(data=data, steps=4, measure_every=measure_every)
    fit(config, load(data), out=tmp_path, callbacks=[Measured()])
    drawn = {path.name: imread(path) for path in tmp_path.glob("*.png")}
    assert drawn.keys() == {"samples.png", "curves.png", *["distance.png"] * (measure_every > 0)}
    for name, picture in drawn.items():
        assert min(picture.shape[:2]) >= 500
        assert picture.std() > 0.02, name


def test_a_run_without_a_line_of_metrics_has_no_panel() -> None:
    assert panels([], ("gp",)) == []
    assert _pixels(png(curves_figure([], ("gp",), "title"))).size
    assert distance_figure([], "title") is None


def test_lines_without_a_distance_are_skipped() -> None:
    records = lines(30, measure_every=10)
    (axes,) = distance_figure(records, "title").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["exact, generated to held-out"] == [
        [r["step"], r["w1"]] for r in records if "w1" in r
    ]
    assert [y for _, y in drawn["floor: real to held-out"]] == [1.0, 1.0, 1.0]
    assert distance_figure(lines(30, measure_every=0), "title") is None
    assert "ratio 5.03" in axes.get_title()


def test_a_distance_that_falls_far_is_drawn_on_a_logarithmic_scale() -> None:
    records = [{"step": 1, "w1": 50.0, "kantorovich": -1.0}, {"step": 2, "w1": 0.5}]
    assert distance_figure(records, "").axes[0].get_yscale() == "log"
    assert distance_figure(records[1:], "").axes[0].get_yscale() == "linear"


def test_curves_have_a_panel_for_each_kind_of_number() -> None:
    records = lines(60)
    labels = [axes.get_ylabel() for axes in curves_figure(records, ("gp",), "title").axes]
    assert len(labels) == 5
    assert "λ · mean (‖∇D‖ − 1)²" in labels[2]
    found = panels(records, ("sn", "r1", "r2"))
    assert found[2].formula == "λ · mean ‖∇D(real)‖² + λ · mean ‖∇D(fake)‖²"
    assert found[0].names == ("w1", "w1_floor", "kantorovich", "kantorovich_normalised")


def test_a_running_mean_is_over_a_fortieth_of_the_values() -> None:
    assert running_means([1.0, 2.0, 4.0]) == [1.0, 2.0, 4.0]
    values = torch.rand(200, dtype=torch.float64).tolist()
    expected = [sum(values[max(i - 4, 0) : i + 1]) / min(i + 1, 5) for i in range(200)]
    assert running_means(values) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 16, 32), (3, 128, 128)])
def test_a_tile_is_its_image_enlarged(shape: tuple[int, ...]) -> None:
    side = columns(shape)
    images = torch.rand(side**2, *shape) * 2 - 1
    images[:] = images.mean(dim=(2, 3), keepdim=True)  # plain, so that every pixel is known
    picture = tile(images)
    rows, across = picture.shape[0] // side, picture.shape[1] // side
    for row, column in ((0, 0), (3, 1), (side - 1, side - 1)):
        pixel = picture[row * rows + rows // 2, column * across + across // 2]
        expected = (images[side * row + column, :, 0, 0].expand(3) + 1) / 2
        torch.testing.assert_close(pixel, expected)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert max(picture.shape) <= 1000


def test_large_images_keep_their_pixels() -> None:
    images = torch.rand(49, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(tile(images)[6:70, 6:70], (images[0].permute(1, 2, 0) + 1) / 2)


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_colours_are_shown_as_grey(channels: int) -> None:
    images = torch.rand(5, channels, 8, 8) * 2 - 1  # nor a whole row of them
    torch.testing.assert_close(tile(images), tile(images.mean(dim=1, keepdim=True)))


def test_names_are_drawn_letter_by_letter() -> None:
    """matplotlib would read $a_$ as a formula, and its font lacks Chinese letters."""
    for name in ("a$b_{$c", "\\$^$", "价格", "\udcff", "x" * 500, "<script>\n"):
        drawn = figure(300, 200)
        drawn.suptitle(plain(name))
        assert png(drawn)
    assert len(plain("x" * 500)) < 70


def test_the_same_state_gives_the_same_pictures(tmp_path: Path) -> None:
    vectors = Data("vectors", torch.randn(64, 3))
    run = Run.begin(small(), vectors, out=tmp_path)
    run.go(stop=stop_at(1))
    before = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    torch.randn(7)
    plots.draw(run.trainer, run.data, run.folder)
    assert len(before) == 2
    assert {path: path.read_bytes() for path in before} == before


def test_labels_are_the_same_on_both_sides(tmp_path: Path) -> None:
    labels = torch.arange(60) % 3
    values = labels.view(-1, 1, 1, 1).expand(-1, 1, 8, 8) / 2.0 - 0.5
    data = Data("labelled", values.contiguous(), labels=labels, classes=("a", "b", "c"))
    run = Run.begin(small(conditional=True), data, out=tmp_path)
    _, real = fake_and_real(run.trainer, data)
    assert real[:, 0, 0, 0].tolist() == [(place % 3) / 2 - 0.5 for place in range(100)]


def _frame() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "price $": [1.0, 2.0, None, 4.0],
            "colour": ["red", "blue", None, "red"],
            "old": [True, False, True, True],
            "when": pandas.to_datetime(["2020-01-01", "2021-01-01", None, "2022-01-01"]),
            "day": [pandas.Timestamp("2020-07-01").date()] * 4,
            "for": pandas.to_timedelta([1, 2, 3, 4], unit="s"),
        }
    )


def test_columns_of_a_table_are_numbers_or_levels() -> None:
    found = {column.name: column for column in of_frames(_frame()[:2], _frame())}
    assert list(found) == ["price $", "colour", "old", "when (year)", "day (year)", "for (s)"]
    assert found["price $"].fake.tolist() == [1.0, 2.0]
    colour = found["colour"]
    assert colour.levels == ("(missing)", "blue", "red")
    assert [colour.levels[code] for code in colour.real] == ["red", "blue", "(missing)", "red"]
    assert found["when (year)"].real[1].item() == pytest.approx(2021, abs=0.01)
    assert found["when (year)"].real[2].isnan()
    assert found["day (year)"].real.tolist() == pytest.approx([2020.5] * 4, abs=0.01)
    assert found["for (s)"].real.tolist() == [1, 2, 3, 4]


def test_a_table_is_drawn_as_marginals_and_correlations() -> None:
    frame = _frame()
    drawn = table_figure(of_frames(frame, frame), "a table")
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles[:2] == ["price \\$", "colour"]
    assert titles[6:9] == [
        f"correlations, {side}" for side in ("real", "generated", "generated − real")
    ]
    assert _pixels(png(drawn)).std() > 0.02


def test_correlations_are_pearsons() -> None:
    real = torch.randn(500, 3) @ torch.randn(3, 3)
    axes = table_figure(of_vectors(-real, real), "").axes
    torch.testing.assert_close(
        torch.from_numpy(axes[3].images[0].get_array().data), torch.corrcoef(real.T.double())
    )


def test_a_marginal_counts_what_lies_far_outside() -> None:
    column = Column("x", torch.linspace(0, 1, 100), torch.full((100,), 50.0))
    (axes,) = table_figure([column], "").axes
    shares = axes.patches[-1].get_data().values
    assert shares[-1] == 1
    assert axes.get_xlim()[1] < 2


def test_one_column_or_many_are_drawn() -> None:
    for count in (1, 13):
        values = torch.randn(50, count)
        values[:, 0] = 3.0  # constant
        assert _pixels(png(table_figure(of_vectors(values, values), "v"))).std() > 0.01


def test_critics_that_know_nothing_are_drawn(tmp_path: Path) -> None:
    config: TrainConfig = small(data="swissroll")
    run = Run.begin(config, load("swissroll"), out=tmp_path)
    with torch.no_grad():
        for weight in run.trainer.critic.parameters():
            weight.zero_()
    run.go(stop=stop_at(0))
    plots.draw(run.trainer, run.data, run.folder)
    assert imread(tmp_path / "samples.png").std() > 0.02


def test_a_pair_is_both_pictures_dot_by_dot() -> None:
    fake, real = torch.rand(40, 50, 3), torch.rand(40, 50, 3)
    drawn = _pixels(png(pair_figure(fake, real, "")))[:, :, :3]
    height = drawn.shape[0]
    for place, picture in enumerate((fake, real)):
        left = 24 + place * (50 + 24)
        found = torch.tensor(drawn[height - 24 - 40 : height - 24, left : left + 50])
        torch.testing.assert_close(found, picture, atol=1 / 255, rtol=0)


def test_estimates_far_below_the_distance_are_in_the_picture() -> None:
    panel = curves.Panel("", "", ("w1", "w1_floor", "kantorovich"))
    records = [
        {"step": step, "w1": 3.0 - step / 9, "w1_floor": 2.8, "kantorovich": 0.2} for step in (1, 2)
    ]
    axes = Figure().add_subplot()
    curves._draw_distance(axes, records, panel)
    low, high = axes.get_ylim()
    assert low < 0.2
    assert 2.9 < high < 4
