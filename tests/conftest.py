"""What every test runs under: one BLAS thread, as in the command line, and the two lengths of the property tests; and
what tests of trained models share.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy loads: a result must not depend on the machine's load

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from tests.generators.tiny import Models

threadpool_limits(limits=1, user_api="blas")  # a plug-in of pytest may have loaded numpy already

# Few examples, always the same ones, so that a failure is a change of the code; `--hypothesis-profile=deep` searches.
settings.register_profile("fast", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile("fast")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> "Models":
    """Folders of tiny models."""
    from tests.generators.tiny import Models

    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is tried of the network: nothing, unless a test expects it."""
    from tests.generators.tiny import no_network

    found = no_network(monkeypatch)
    yield found
    assert found == []
