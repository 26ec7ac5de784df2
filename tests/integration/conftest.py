"""What every integration test has: targets to look at, loopscope, and skips that are seen.

Targets that a test only looks at live as long as the session; one that a test changes, stops or
ends is started by that test. Without root, what only root can do is skipped and listed; on CI (the
environment variable CI) as root, a skip is a failure.
"""

import os
from typing import Any, Dict, Generator, Iterator, Tuple

import pytest
import tracer_run
from private_cache import cache
from tracer_targets import Demo, Qemu

__all__ = ["cache"]  # a fixture
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="session")
def root() -> None:
    """For tests that load bpf programs or look at other users' processes."""
    if not IS_ROOT:
        pytest.skip("only root may load bpf programs and become another user")


@pytest.fixture(params=["mem", "iter"])
def way(request: pytest.FixtureRequest) -> str:
    """The ways to read that look at a target as it stands."""
    if request.param == "iter":
        request.getfixturevalue("root")
    return str(request.param)


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """five-sources, asleep. For looking at only."""
    with Demo("five-sources") as target:
        yield target.wait_asleep()


@pytest.fixture(scope="session")
def qemu() -> Iterator[Qemu]:
    """A qemu-system-x86_64, idle. For looking at only."""
    with Qemu() as target:
        yield target


@pytest.fixture(scope="session")
def many() -> Iterator[Demo]:
    """1000 handlers of one callback. For looking at only."""
    with Demo("many-fds", "--fds", "1000") as target:
        yield target.wait_asleep()


def pytest_configure() -> None:
    for program in (tracer_run.LOOPSCOPE, tracer_run.DEMO):
        if not program.exists():
            raise pytest.UsageError(f"{program} is not built: run make")


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and IS_ROOT
        and os.environ.get("CI")
    ):
        report.outcome = "failed"
        report.longrepr = f"CI can run this as root, and yet: {report.longrepr[2]}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Each test that was skipped, once, with the reason and in how many variants."""
    skipped: Dict[Tuple[str, str], int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        why = (
            report.longrepr[2]
            if isinstance(report.longrepr, tuple)
            else report.longrepr
        )
        test = report.nodeid.split("[")[0]
        key = (str(why).replace("Skipped: ", ""), test)
        skipped[key] = skipped.get(key, 0) + 1
    if skipped:
        terminalreporter.section("skipped, and why")
    for (why, test), times in skipped.items():
        variants = f" ({times} variants)" if times > 1 else ""
        terminalreporter.write_line(f"{test}{variants}: {why}")
