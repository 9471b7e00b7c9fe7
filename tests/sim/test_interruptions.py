import pytest

from tests.sim import interrupted


@pytest.mark.slow
def test_a_sweep_killed_at_random_times_ends_bit_identical(tmp_path):
    counts = interrupted.kill_and_resume(tmp_path, kills=6, seed=1, sweeps=1000, samples=50, longest=2.5)
    assert counts["driver"] + counts["worker"] == 6
