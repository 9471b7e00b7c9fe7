"""Peak memory of a process that draws and simulates N = 200, P = 4, K = 240,000."""

from benchmarks import engine
from hebbian import DenseHebbian


def peak() -> str:
    """Return the peak of this process in bytes, and the number of pattern entries."""
    sample = engine.quench(DenseHebbian(N=200, P=4, K=240_000))
    engine.chain(sample, 0.3, "rows", 1).run()
    # Not getrusage: its maximum is inherited from the parent process.
    with open("/proc/self/status") as lines:
        highest = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return f"{highest} {sample.rows.size}"
