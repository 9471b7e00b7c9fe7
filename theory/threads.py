"""Points of a map on the threads of this process; each point is computed alone, so that their number changes nothing.

There are as many threads as Numba would use: ``NUMBA_NUM_THREADS`` in the environment, or `numba.set_num_threads`; one
in the worker processes of a sweep. They live as long as a call, and only compiled code without the interpreter's lock
gains by them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

# Pieces a thread, for points that take different times.
_PIECES = 16


def spread(compute: Callable[[int, int], object], points: int) -> None:
    """Call compute(begin, end) on pieces of range(points) until all points are computed.

    Parameters
    ----------
    compute : callable
        Computes the points from begin to end - 1 and stores them.
    points : int
        Number of points.
    """
    if points == 1:
        compute(0, 1)
        return
    threads = numba.get_num_threads()
    if threads == 1:
        compute(0, points)
        return
    piece = max(1, points // (_PIECES * threads))
    with ThreadPoolExecutor(threads) as pool:
        ends = [(begin, min(begin + piece, points)) for begin in range(0, points, piece)]
        futures = [pool.submit(compute, *part) for part in ends]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
