"""A simulated Dify in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.simulator.server import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator("1.12.1", stop_delay=0.05) as simulator:
        yield simulator
