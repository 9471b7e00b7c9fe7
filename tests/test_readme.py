import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_run_and_agree(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert (tmp_path / "dense.h5").exists()
    measured = names["measured"]["m"].mean(["sample", "replica"])
    # Four samples of N = 100, deep in the retrieval phase: agreement to a per cent, no test of the theory.
    np.testing.assert_allclose(measured, names["predicted"]["m"], atol=0.02)


def test_every_file_that_is_named_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
