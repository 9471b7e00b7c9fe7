import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from PIL import Image

from runs import comparison, figures


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def saved(axes):
    """Save the figure in both formats; return the bytes."""
    sizes = []
    for kind in ("png", "pdf"):
        buffer = io.BytesIO()
        axes.figure.savefig(buffer, format=kind)
        sizes.append(buffer.getvalue())
    return sizes


LOAD, T = [0.1, 0.2], [0.1, 0.2, 0.3]


def compared_and_theory():
    values = np.random.default_rng(1).normal(size=(2, 3, 4))
    simulation = xr.Dataset({"m": (("load", "T", "sample"), values)}, coords={"load": LOAD, "T": T})
    simulation["T"].attrs = {"long_name": "temperature", "units": "1"}
    theory = xr.Dataset({"m": (("load", "T"), np.zeros((2, 3)))}, coords={"load": LOAD, "T": T})
    theory["m"].attrs = {"long_name": "overlap with the pattern", "units": "1"}
    theory["T"].attrs = simulation["T"].attrs
    return comparison.compare(simulation, theory, names=["m"]), theory


@pytest.mark.parametrize(
    ("name", "long_name", "units", "label"),
    [
        ("T", "temperature", "1", "temperature $T$"),
        ("T", "temperature T, k_B = 1", "H = -(N/2) sum m^P", "temperature $T$"),
        ("load", "load gamma, K = gamma (2/P!) N^(P-1)", "1", r"load $\gamma$"),
        ("dilution", "dilution d, fraction of blank entries", "1", "dilution $d$"),
        ("m_mean", "Mattis magnetisation, mean over samples", "1", "Mattis magnetisation $m$"),
        ("m_all_error", "standard error of m_all", "1", r"standard error of $m_\mu$"),
        ("entropy", "entropy per spin", "k_B", "entropy per spin $s$ ($k_B$)"),
        ("gamma_c", "critical load", "1", r"critical load $\gamma_{c}$"),
        ("step", "", "s", "step (s)"),
        ("T", "", "", "$T$"),
        (None, "loss on the archetypes", "1", "loss on the archetypes"),
    ],
)
def test_labels_are_words_and_symbol(name, long_name, units, label):
    attributes = {key: text for key, text in (("long_name", long_name), ("units", units)) if text}
    assert figures.label(xr.DataArray(0.0, name=name, attrs=attributes)) == label


def test_a_label_of_nothing_is_refused():
    with pytest.raises(ValueError, match="without a name"):
        figures.label(xr.DataArray(0.0))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 40])
def test_colours_differ(count):
    assert len({to_hex(colour) for colour in figures.colours(count)}) == count


def test_points_lie_where_they_were_measured_on_lines_where_they_were_predicted(axes):
    compared, theory = compared_and_theory()
    figures.points_over_lines(axes, compared, theory + 0.5, "m", "T", "load")
    for i, container in enumerate(axes.containers):
        points, colour = container.lines[0], figures.COLOURS[i]
        np.testing.assert_allclose(points.get_xydata(), np.transpose([T, compared.m_mean[i]]))
        assert points.get_color() == colour
        bars = container.lines[2][0].get_segments()
        np.testing.assert_allclose([bar[1, 1] - bar[0, 1] for bar in bars], 2 * compared.m_error[i])
        (line,) = [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata()) == 3][:1]
        np.testing.assert_allclose(line.get_ydata(), 0.5)
    assert len(axes.containers) == 2
    assert axes.get_xlabel() == "temperature $T$"
    texts = [text.get_text() for text in axes.legend().get_texts()]
    assert texts == [r"$\gamma = 0.1$", r"$\gamma = 0.2$", "theory", "measured"]


def test_lines_may_be_finer_and_fewer_than_points_and_differ_by_rounding(axes):
    compared, _ = compared_and_theory()
    fine = np.linspace(0.1, 0.3, 30)
    theory = xr.Dataset({"m": (("load", "T"), fine[None])}, coords={"load": [0.2 * (1 + 1e-10)], "T": fine})
    stable = theory["T"] < 0.2
    figures.points_over_lines(axes, compared, theory, "m", "T", "load", solid=stable, dashed="unstable")
    (container,) = axes.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), compared.m_mean[1])
    solid, dashed = (np.isfinite(np.array(line.get_ydata(), dtype=float)) for line in axes.lines[:2])
    assert solid.tolist() == stable.values.tolist()
    assert dashed.tolist() == (~stable).values.tolist()
    assert "theory, unstable" in [text.get_text() for text in axes.legend().get_texts()]


def test_one_curve_needs_no_by_and_styles_can_be_set(axes):
    compared, theory = compared_and_theory()
    one, line = compared.isel(load=[0]), theory.isel(load=0)
    figures.points_over_lines(axes, one, line, "m", "T", point={"marker": "s"}, line={"linestyle": ":"}, keys=False)
    assert axes.containers[0].lines[0].get_marker() == "s"
    assert axes.lines[0].get_linestyle() == ":"
    assert axes.get_legend_handles_labels()[1] == []


def test_what_cannot_be_drawn_is_named(axes):
    compared, theory = compared_and_theory()
    for arguments, message in (
        ((compared, theory, "q", "T"), "'q_mean' is not a variable of compared"),
        ((compared, theory, "m", "N"), "along = 'N' is no dimension of m_mean"),
        ((compared, theory, "m", "T", "N"), "by = 'N' is no dimension of m_mean"),
        ((compared, theory, "m", "T"), "select one point of the rest"),
        ((compared, theory.assign_coords(load=[0.1, 0.3]), "m", "T", "load"), "load = 0.3 is not in m_mean"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.points_over_lines(axes, *arguments)
    with pytest.raises(ValueError, match="'q_pull' is not a variable of compared"):
        figures.residual_panel(axes, compared, "q", "T")


def test_residual_panel_shows_every_pull_and_marks_those_off_the_scale(axes):
    pull = np.array([[0.5, 40.0, -2.0], [np.nan, -7.0, 1.0], [np.nan] * 3])
    compared = xr.Dataset({"m_pull": (("load", "T"), pull)}, coords={"load": [0.1, 0.2, 0.3], "T": T})
    figures.residual_panel(axes, compared, "m", "T", "load")
    shown = {}
    for line in axes.lines[1:]:
        y = np.array(line.get_ydata(), dtype=float)
        shown.setdefault(line.get_marker(), []).extend(y[np.isfinite(y)].tolist())
    assert sorted(shown["o"]) == [-2.0, 0.5, 1.0]
    assert len(shown["^"]) == len(shown["v"]) == 1
    assert 5 < shown["^"][0] < 6
    assert -6 < shown["v"][0] < -5
    # Bands at 1, 2, 3, and no entry for a load without pulls.
    assert sorted(patch.get_height() for patch in axes.patches) == [2, 4, 6]
    assert len(axes.get_legend_handles_labels()[1]) == 2
    # The axis spans the points.
    assert axes.get_xlim()[0] < 0.1 < 0.3 < axes.get_xlim()[1]
    assert axes.get_xlim()[1] < 0.4
    saved(axes)


def test_residual_panel_of_nothing_is_empty(axes):
    compared = xr.Dataset({"m_pull": (("load", "T"), np.full((2, 3), np.nan))}, coords={"load": LOAD, "T": T})
    figures.residual_panel(axes, compared, "m", "T", "load")
    saved(axes)


def mapped(x, y, seed=1):
    values = np.random.default_rng(seed).random((len(x), len(y)))
    return xr.DataArray(values, dims=("load", "T"), coords={"load": x, "T": y}, name="m")


def test_cells_of_a_regular_map_are_centred_on_their_points(axes):
    values = mapped([0.3, 0.1, 0.2], [1.0, 2.0])
    bar = figures.heat_map(axes, values, "load", "T", limits=(0, 1))
    (image,) = axes.images
    np.testing.assert_allclose(image.get_extent(), [0.05, 0.35, 0.5, 2.5])
    # Rows are temperatures, columns loads in ascending order.
    np.testing.assert_allclose(image.get_array(), values.sortby("load").T)
    assert image.get_clim() == (0, 1)
    assert bar.ax.get_ylabel() == "$m$, measured"
    assert axes.get_xlabel() == r"load $\gamma$"


@pytest.mark.parametrize("log", [False, True])
def test_cells_of_an_irregular_map_meet_between_their_points(axes, log):
    if log:
        axes.set(xscale="log")
    figures.heat_map(axes, mapped([1.0, 2.0, 8.0], [1.0, 2.0]), "load", "T")
    (mesh,) = [child for child in axes.get_children() if isinstance(child, QuadMesh)]
    borders = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(borders, [0.5**0.5, 2**0.5, 4, 16] if log else [0.5, 1.5, 5, 11])
    assert mesh.get_rasterized()


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_maps_of_one_row_column_or_point_are_drawn(axes, shape, scale):
    # Warnings are errors.
    axes.set(xscale=scale, yscale=scale)
    figures.heat_map(axes, mapped(*(np.arange(1.0, size + 1) for size in shape)), "load", "T")
    assert all(limits[0] < limits[1] for limits in (axes.get_xlim(), axes.get_ylim()))
    saved(axes)


def test_a_map_at_zero_and_of_no_value_is_drawn(axes):
    figures.heat_map(axes, mapped([0.0], [0.0]) * np.nan, "load", "T", limits=(0, 1))
    saved(axes)


def test_lines_run_where_they_were_predicted_and_leave_the_limits(axes):
    lines = {
        "T_c": xr.DataArray([1.0, 9.0], dims="load", coords={"load": [0.1, 0.5]}),
        "gamma_c": xr.DataArray([[0.2], [0.7]], dims=("T", "P"), coords={"T": [1.0, 3.0]}),
    }
    figures.heat_map(axes, mapped([0.1, 0.2], [1.0, 2.0]), "load", "T", lines=lines)
    first, second = axes.lines
    assert first.get_xydata().tolist() == [[0.1, 1], [0.5, 9]]
    assert second.get_xydata().tolist() == [[0.2, 1], [0.7, 3]]
    assert first.get_linestyle() != second.get_linestyle()
    assert axes.get_ylim() == (0.5, 2.5)
    texts = figures.map_legend(axes, loc="upper left").get_texts()
    assert [text.get_text() for text in texts] == ["T_c", "gamma_c"]
    assert all(text.get_path_effects() and to_hex(text.get_color()) == "#ffffff" for text in texts)


def test_a_long_label_of_a_colour_bar_is_wrapped(axes):
    values = mapped(LOAD, T).assign_attrs(long_name="Mattis magnetisation of the retrieved pattern, mean over samples")
    words = figures.heat_map(axes, values, "load", "T").ax.get_ylabel()
    assert words == "Mattis magnetisation of the\nretrieved pattern $m$, measured"
    assert figures.heat_map(axes, values, "load", "T", bar="$m$").ax.get_ylabel() == "$m$"


def test_an_axis_may_be_another_coordinate_along_a_dimension(axes):
    values = mapped([0.9, 0.5, 0.3], T).rename(load="quality").assign_coords(rho=("quality", [0.1, 0.4, 1.3]))
    line = xr.DataArray([0.2, 0.3], dims="quality", coords={"rho": ("quality", [0.1, 1.3])})
    figures.heat_map(axes, values.expand_dims("N"), "rho", "T", lines={"line": line})
    assert axes.get_xlabel() == r"data-set entropy $\rho$"
    assert axes.lines[0].get_xydata().tolist() == [[0.1, 0.2], [1.3, 0.3]]


def test_maps_that_cannot_be_drawn_are_refused(axes):
    values = mapped([0.1, 0.2], T)
    for arguments, message in (
        ((values, "alpha", "T"), "x = 'alpha' is no coordinate .* allowed: load, T"),
        ((values, "T", "T"), "allowed: two, one along x = 'T' and one along y = 'T'"),
        ((xr.concat([values, values], dim="P"), "load", "T"), "values has dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.heat_map(axes, *arguments)
    with pytest.raises(ValueError, match="line 'a' has dimensions"):
        figures.heat_map(axes, values, "load", "T", lines={"a": xr.DataArray([1.0, 2.0], dims="P", name="a")})
    axes.set(xscale="log")
    with pytest.raises(ValueError, match="load has a value 0 on a logarithmic axis"):
        figures.heat_map(axes, mapped([0.0, 1.0], T), "load", "T")


@pytest.mark.parametrize("power", [1, 2])
def test_a_large_map_stays_an_image_in_the_pdf(axes, power):
    # A million cells drawn as paths would take a hundred megabytes.
    side = np.linspace(0.1, 1, 1000) ** power
    figures.heat_map(axes, mapped(side, side), "load", "T")
    png, pdf = saved(axes)
    assert len(pdf) < 5e6
    assert Image.open(io.BytesIO(png)).size[0] > 500
