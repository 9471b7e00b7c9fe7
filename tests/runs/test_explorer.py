import builtins
import json
import re
import shutil
import threading

import numpy as np
import pytest
import xarray as xr

from runs import comparison, explorer
from sim import store

pytest.importorskip("dash", reason="the explorer needs the extra explorer")

LOAD, T, SAMPLES = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.4, 0.6, 0.8]), 5
AXES = {"load": ("load", LOAD, {"long_name": "load gamma"}), "T": ("T", T, {"long_name": "temperature"})}


def measurement(shift=0.0):
    """Values m = load + T + noise of samples and replicas, one task of which is not completed."""
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 4, SAMPLES, 2))
    m = LOAD[:, None, None, None] + T[:, None, None] + noise + shift
    completed = np.ones((3, SAMPLES), dtype=np.int8)
    completed[1, 2] = 0
    m[1, :, 2] = 0.0
    dims = ("load", "T", "sample", "replica")
    return xr.Dataset(
        {
            "m": (dims, m, {"long_name": "Mattis magnetisation", "units": "1"}),
            "m_error": (dims, np.full_like(m, 0.1)),
            "energy": (dims, -m),
            "completed": (("load", "sample"), completed),
        },
        coords=AXES | {"sample": np.arange(SAMPLES), "replica": np.arange(2)},
    )


def write(path, simulation, groups=None):
    with store.ResultsFile(path, {"seed": np.uint64(7)}, overwrite=True) as file:
        file.create({"simulation": simulation} | (groups or {}))
    return path


@pytest.fixture
def results(tmp_path):
    lines = {
        "T_c": ("load", 1 - LOAD, {"long_name": "critical temperature T_c"}),
        "gamma_c": ("T", T / 3),
        "other": (("load", "T"), np.zeros((3, 4))),
        "count": ((), 3.0),
    }
    theory = xr.Dataset({"m": (("load", "T"), LOAD[:, None] + T + 0.02)}, coords=AXES)
    groups = {"theory": theory, "theory_lines": xr.Dataset(lines, coords=AXES)}
    pictures = xr.Dataset({"spins": (("row", "column"), np.ones((2, 2)))})
    return write(tmp_path / "results.h5", measurement(), groups | {"simulation/pictures": pictures})


def look(path, *given, **options):
    return explorer.look(explorer.Reader(path), *(given or ("simulation",)), **options)


def named(figure, name):
    return next((trace for trace in figure["data"] if trace.get("name") == name), None)


def completed_m():
    """Mean over the completed samples of the test's file, and its standard error, by hand."""
    data = measurement()
    values = data["m"].mean("replica").where(data["completed"] == 1)
    count = values.count("sample")
    return values.mean("sample"), values.std("sample", ddof=1) / np.sqrt(count)


def test_map_and_cuts_show_means_over_completed_samples(results):
    mean, error = completed_m()
    view = look(results, at={"load": 1, "T": 3})
    assert view.shown == ("load", "T")
    heat = explorer.map_figure(view)["data"][0]
    np.testing.assert_allclose(heat["z"], mean.transpose("T", "load"))
    np.testing.assert_array_equal(heat["x"], LOAD)
    np.testing.assert_array_equal(heat["y"], T)
    along_T = named(explorer.cut_figure(view, "T"), "measured")
    np.testing.assert_allclose(along_T["y"], mean[1])
    np.testing.assert_allclose(along_T["error_y"]["array"], error[1])
    along_load = named(explorer.cut_figure(view, "load"), "measured")
    np.testing.assert_allclose(along_load["y"], mean[:, 3])


def test_statistics_are_those_of_the_comparison(results):
    data = measurement().drop_vars("completed")
    view = look(write(results, data))
    mean, error = explorer.statistics(explorer.sample_values(view, ["load", "T"]))
    for found, expected in zip((mean, error), comparison.sample_statistics(data, "m"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_completed_sample_without_value_leaves_no_mean(results):
    data = measurement()
    data["m"][0, 0, 0] = np.nan
    mean = explorer.statistics(explorer.sample_values(look(write(results, data)), ["load", "T"]))[0]
    assert np.flatnonzero(np.isnan(mean.values)).tolist() == [0]


def test_theory_is_drawn_or_left_out(results):
    view = look(results, at={"load": 2, "T": 0})
    predicted = named(explorer.cut_figure(view, "T"), "predicted")
    np.testing.assert_allclose(predicted["y"], 0.3 + T + 0.02)
    assert named(explorer.cut_figure(view, "T", theory=False), "predicted") is None
    curves = {name.split(":")[0]: (across, up) for name, across, up in explorer.transition_lines(view)}
    assert curves.keys() == {"<i>T</i><sub>c</sub>", f"{explorer.GAMMA}<sub>c</sub>"}
    np.testing.assert_array_equal(curves["<i>T</i><sub>c</sub>"], (LOAD, 1 - LOAD))
    np.testing.assert_array_equal(curves[f"{explorer.GAMMA}<sub>c</sub>"], (T / 3, T))
    with_lines, without = (len(explorer.map_figure(view, theory=on)["data"]) for on in (True, False))
    assert with_lines == without + 4  # two lines, an outline each
    swapped = look(results, "simulation", "m", "T", "load")
    across, up = explorer.transition_lines(swapped)[0][1:]
    np.testing.assert_array_equal((across, up), (1 - LOAD, LOAD))


def test_table_of_a_point(results):
    mean, error = completed_m()
    rows = explorer.point_rows(look(results, at={"load": 1, "T": 2}))
    values = dict(rows["values"])
    assert float(values["measured mean"]) == pytest.approx(mean[1, 2].item(), rel=1e-5)
    assert float(values["standard error"]) == pytest.approx(error[1, 2].item(), rel=1e-5)
    assert float(values["predicted"]) == pytest.approx(0.82)
    pull = (mean[1, 2] - 0.82) / error[1, 2]
    assert float(values["pull, measured minus predicted over the error"]) == pytest.approx(pull.item(), abs=0.006)
    assert values["samples completed"] == "4 of 5"
    assert rows["samples"][2] == ("2", "not completed")
    assert float(rows["samples"][4][1]) == pytest.approx(measurement()["m"][1, 2, 4].mean().item(), rel=1e-5)
    assert [value for _, value in rows["parameters"]] == ["0.2", "0.6"]


def test_samples_are_dots_only_where_completed(results):
    view = look(results, at={"load": 1, "T": 0})
    assert named(explorer.cut_figure(view, "T"), "samples") is None
    dots = named(explorer.cut_figure(view, "T", samples=True), "samples")
    assert len(dots["y"]) == 4 * (SAMPLES - 1)
    assert 2 not in dots["customdata"]


def test_lists_hold_what_can_be_shown(results):
    assert explorer.measurements(results) == ["simulation"]
    assert explorer.variables(measurement()) == ["m", "energy"]


def test_overlaps_with_all_patterns_are_predicted_by_m(tmp_path):
    simulation = measurement().rename(m="m_all").expand_dims(pattern=[0, 1], axis=-1).drop_vars("completed")
    theory = xr.Dataset({"m": (("load", "T", "pattern"), np.ones((3, 4, 2)))}, coords=AXES | {"pattern": [0, 1]})
    view = look(write(tmp_path / "results.h5", simulation, {"theory": theory}))
    assert (view.name, view.shown) == ("m_all", ("load", "T"))
    assert float(explorer.predicted_at(view)) == 1


@pytest.mark.parametrize("axes", [["load"], ["T"], []])
def test_fewer_axes_still_give_a_page(axes, tmp_path):
    data = measurement().drop_vars("completed").isel({axis: 0 for axis in ("load", "T") if axis not in axes})
    view = look(write(tmp_path / "results.h5", data))
    assert list(view.shown) == axes
    explorer._drawn(view, theory=True, samples=True)
    assert len(explorer.point_rows(view)["samples"]) == SAMPLES


def test_large_maps_are_coarsened_by_block_means():
    values = np.arange(1000.0 * 900).reshape(1000, 900)
    values[0, 0] = np.nan
    blocks, size = explorer.coarsen(values)
    assert size == (3, 3)
    assert blocks.shape == (334, 300)
    assert blocks[1, 1] == values[3:6, 3:6].mean()
    assert blocks[0, 0] == pytest.approx(np.nanmean(values[:3, :3]))
    assert blocks[-1, 0] == values[999:, :3].mean()
    np.testing.assert_array_equal(explorer.coarsen(values[:400, :400])[0], values[:400, :400])


def test_a_large_file_is_sent_coarsened_and_cut_exactly(tmp_path):
    axes = {"load": np.linspace(0, 1, 500), "T": np.linspace(0, 1, 600)}
    m = np.random.default_rng(2).random((500, 600, 2))
    data = xr.Dataset({"m": (("load", "T", "sample"), m)}, coords=axes | {"sample": [0, 1]})
    view = look(write(tmp_path / "results.h5", data), at={"load": 3, "T": 5})
    figure, _, cut, _, _, _, _, note = explorer._drawn(view, theory=True, samples=False)
    assert figure["data"][0]["z"].shape == (300, 250)
    assert "mean of 2 by 2 points" in note
    np.testing.assert_allclose(named(cut, "measured")["y"], m[:, 5].mean(-1))


def test_axes_in_factors_are_logarithmic():
    assert explorer.logarithmic(np.geomspace(1, 400, 9))
    assert not explorer.logarithmic(np.linspace(1, 400, 9))
    assert not explorer.logarithmic(np.array([0.0, 1, 10, 100]))
    assert explorer.nearest(np.array([1, 10, 100, 1000]), 40) == 2  # linearly, 10 is nearer
    assert explorer.nearest(np.array([0.1, 0.2, 0.3]), 0.24) == 1


def test_figures_are_valid_plotly(results):
    objects = pytest.importorskip("plotly.graph_objects")
    view = look(results)
    for figure in (explorer.map_figure(view), explorer.cut_figure(view, "T", samples=True)):
        objects.Figure(figure)


def test_a_changed_file_is_read_again(results):
    reader = explorer.Reader(results)
    before = explorer.look(reader, "simulation").data["m"].mean()
    write(results, measurement(shift=1.0))
    assert explorer.look(reader, "simulation").data["m"].mean() > before + 0.9
    results.unlink()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        explorer.look(reader, "simulation")


def test_foreign_files_and_ports_are_refused(tmp_path, results):
    foreign = tmp_path / "foreign.h5"
    foreign.write_text("foreign")
    with pytest.raises(ValueError, match="is not an HDF5 file; allowed: a results file"):
        explorer.application(foreign)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        explorer.application(tmp_path / "absent.h5")
    with pytest.raises(ValueError, match="port = 65536 is out of range"):
        explorer.listen(results, port=65536)
    with explorer.socket.create_server((explorer.HOST, 0)) as taken, pytest.raises(OSError, match=r"port = \d+ cannot"):
        explorer.listen(results, port=taken.getsockname()[1])


def test_without_dash_the_extra_is_named(results, monkeypatch):
    original = builtins.__import__

    def refuse(name, *rest):
        if name == "dash":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=re.escape('pip install "hebbian[explorer]"')):
        explorer.application(results)


def test_the_page_is_bound_to_this_machine_and_asks_no_other(results):
    server = explorer.listen(results)
    try:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        client = server.app.test_client()
        page = client.get("/")
        addresses = re.findall(r"(?:https?:)?(?://|\\u002f\\u002f)[\w.-]+\.\w+", page.text)
        assert addresses == []
        assert re.findall(r'src="(?!/_dash-component-suites/)', page.text) == []
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 403
        assert json.loads(client.get("/_dash-layout").text)
    finally:
        server.server_close()


def test_serve_prints_its_address(results, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(explorer.webbrowser, "open", opened.append)
    monkeypatch.setattr("werkzeug.serving.BaseWSGIServer.serve_forever", lambda server: server.server_close())
    explorer.serve(results)
    assert opened == [capsys.readouterr().out.split()[0]]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])
    explorer.serve(results, browser=False)
    assert len(opened) == 1


ABSENT = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
ARGUMENTS = [
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
    "window-size=1280,1043",
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if ABSENT:
        pytest.skip(f"not installed: {', '.join(ABSENT)}")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (*ARGUMENTS, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as chrome:
        yield chrome


@pytest.fixture
def page(driver, results):
    server = explorer.listen(results)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        driver.get(f"http://127.0.0.1:{server.port}/")
        yield driver
        driver.get("about:blank")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TRACES = (
    "return (document.querySelector('#' + arguments[0] + ' .js-plotly-plot')?.data || [])"
    ".map(t => [t.name || t.type, Array.from(t.y || [])])"
)
PIXEL = """
const plot = document.querySelector('#' + arguments[0] + ' .js-plotly-plot');
const x = plot._fullLayout.xaxis, y = plot._fullLayout.yaxis, box = plot.getBoundingClientRect();
return [box.left + x._offset + x.d2p(arguments[1]), box.top + y._offset + y.d2p(arguments[2])];
"""


def traces(page, graph):
    return dict(page.execute_script(TRACES, graph))


def wait_for(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 30, 0.1).until(lambda _: condition())


def click(page, graph, x, y):
    from selenium.webdriver.common.action_chains import ActionBuilder

    page.execute_script("window.scrollTo(0, 0)")
    left, top = page.execute_script(PIXEL, graph, x, y)
    actions = ActionBuilder(page)
    actions.pointer_action.move_to_location(int(left) - 4, int(top)).move_to_location(round(left), round(top))
    actions.pointer_action.pause(0.3).click()
    actions.perform()


def text(page, identity):
    return page.execute_script("return document.getElementById(arguments[0])?.innerText || ''", identity)


def test_a_reader_clicks_through_the_page(page, results):
    mean, _ = completed_m()

    def press(identity):
        page.find_element("css selector", f"#{identity}").click()

    def measured(graph):
        return np.array(traces(page, graph).get("measured", []))

    wait_for(page, lambda: "measured" in traces(page, "cut-y"))
    click(page, "map", 0.3, 0.8)
    wait_for(page, lambda: np.allclose(measured("cut-y"), mean[2]))
    np.testing.assert_allclose(measured("cut-x"), mean[:, 3])
    assert f"{mean[2, 3].item():.6g}" in text(page, "table-values")
    click(page, "cut-x", 0.1, mean[0, 3].item())
    wait_for(page, lambda: np.allclose(measured("cut-y"), mean[0]))
    assert f"{mean[0, 3].item():.6g}" in text(page, "table-values")

    assert "predicted" in traces(page, "cut-x")
    page.find_element("css selector", "#theory input").click()
    wait_for(page, lambda: "predicted" not in traces(page, "cut-x"))
    page.find_element("css selector", "#samples input").click()
    wait_for(page, lambda: len(traces(page, "cut-y").get("samples", [])) == 4 * SAMPLES)

    press("variable")
    wait_for(page, lambda: page.find_elements("xpath", "//label[contains(., 'energy')]"))[0].click()
    wait_for(page, lambda: np.allclose(measured("cut-y"), -mean[0]))

    assert "14 of 15 tasks" in text(page, "progress")
    changed = measurement(shift=1.0)
    changed["completed"][:] = 1
    write(results, changed)
    press("reload")
    wait_for(page, lambda: "15 of 15 tasks" in text(page, "progress"))
    wait_for(page, lambda: np.allclose(measured("cut-y"), -mean[0] - 1))
    results.unlink()
    press("reload")
    wait_for(page, lambda: "does not exist" in text(page, "error-file"))
    # The page reports errors of scripts, and addresses that its policy has refused.
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded
    assert all(address.startswith("http://127.0.0.1:") for address in loaded)
