import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.caching import IndexDataCacheFile

from hebbian.compilation import _CheckedFile

STAMP = (1.5, 100)


def race(kind, directory, monkeypatch):
    """Let two processes compile for two signatures at once, and return what each finds afterwards."""
    one, other = (kind(str(directory), "function", STAMP) for _ in range(2))
    with monkeypatch.context() as context:
        # Neither sees the other's entry in the index before it writes its own.
        context.setattr(IndexDataCacheFile, "_load_index", lambda self: {})
        other.save("float", "code for floats")
        one.save("int", "code for ints")
    # The index of one came first, its file last.
    with open(directory / "function.nbi", "wb") as index:
        pickle.dump(one._version, index)
        index.write(one._dump((STAMP, {"float": "function.1.nbc"})))
    return [one.load(key) for key in ("int", "float")]


def test_what_two_processes_compiled_at_once_is_not_mixed_up(tmp_path, monkeypatch):
    assert race(IndexDataCacheFile, tmp_path, monkeypatch) == [None, "code for ints"]
    assert race(_CheckedFile, tmp_path, monkeypatch) == [None, None]


def test_code_of_another_source_is_not_loaded(tmp_path):
    _CheckedFile(str(tmp_path), "function", STAMP).save("int", "code")
    edited = _CheckedFile(str(tmp_path), "function", (2.5, 100))
    assert edited.load("int") is None
    # Its index is written before its file.
    edited._save_index({"int": "function.1.nbc"})
    assert edited.load("int") is None
    edited.save("int", "new code")
    assert edited.load("int") == "new code"


def test_compiled_code_is_kept_on_disk(tmp_path):
    module = tmp_path / "doubling.py"
    module.write_text(
        "from hebbian.compilation import cached_njit\n"
        "@cached_njit(error_model='numpy')\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "print(double(21), double(0.25), end=' ')\n"
        "print(sum(double.stats.cache_hits.values()) if hasattr(double, 'stats') else 'plain')\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, str(module)], capture_output=True, text=True, check=True, env=os.environ | extra
        )
        for extra in ({}, {}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert [output.stdout.strip() for output in outputs] == ["42 0.5 0", "42 0.5 2", "42 0.5 plain"]


@pytest.mark.parametrize("package", ["hebbian", "sim", "theory"])
def test_all_caches_are_checked(package):
    sources = Path(__file__).parents[2].joinpath(package).rglob("*.py")
    assert not [path for path in sources if "njit(cache" in path.read_text() and path.name != "compilation.py"]
