"""Starting the samplers beside a running server."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.profile.layers import Hit, Stacks, parse_perf
from tools.bench_environment import ENVIRONMENT

# Not a divisor of anything that the server does regularly.
SPY_RATE = 197
_PERF_RATE = 997


class Sampler:
    """A program that looks at a process for a while, started before there is a load."""

    def __init__(self, command: list[str], result: Path) -> None:
        """Start it."""
        self._result = result
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def wait(self) -> Path:
        """Return the file that it wrote."""
        output, _ = self._process.communicate(timeout=120)
        if self._process.returncode or not self._result.exists():
            raise RuntimeError(
                f"the process cannot be sampled: {output.strip()[-300:]}\n"
                "As somebody else than root, see kernel.yama.ptrace_scope, which must be 0."
            )
        return self._result


def start_spy(process_id: int, folder: Path, *, seconds: float) -> Sampler:
    """Sample the function of the thread that holds the interpreter."""
    result = folder / "stacks"
    program = str(ENVIRONMENT / "bin" / "py-spy")
    options = [f"--pid={process_id}", f"--duration={round(seconds)}", f"--rate={SPY_RATE}"]
    files = ["--gil", "--format=raw", f"--output={result}"]
    return Sampler([program, "record", *options, *files], result)


def stacks_of(result: Path) -> Stacks:
    """Read what py-spy wrote."""
    return Stacks(result.read_text(encoding="utf-8").splitlines())


def start_perf(process_id: int, folder: Path, *, seconds: float) -> Sampler | None:
    """Sample the libraries and the kernel, where perf is installed."""
    program = shutil.which("perf")
    if program is None:
        return None
    result = folder / "perf.data"
    options = [f"--freq={_PERF_RATE}", f"--pid={process_id}", f"--output={result}"]
    return Sampler([program, "record", *options, "--", "sleep", f"{seconds}"], result)


def hits_of(result: Path) -> list[Hit]:
    """Let perf report what it wrote."""
    command = ["perf", "report", f"--input={result}", "--stdio", "--sort=dso,symbol"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return list(parse_perf(done.stdout))
