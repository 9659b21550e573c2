import gc
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

collect_ignore = ["mutants"]  # a command, with an extra of its own
pytest.register_assert_rewrite("tests.matrix_suite")  # its failures show their values, too

# Kernels compile during the first examples, so a time limit would measure the compiler.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=int(os.environ.get("BLOCKMAT_TEST_EXAMPLES", "30")),
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,  # a change is judged on the same examples every time
)
settings.load_profile("default")


def pytest_collection_finish():
    """Let the garbage collector skip what is imported; kernels compile a tenth faster."""
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(autouse=True)
def the_same_random_numbers_in_any_order(request):
    """Seed the generator of a module anew for each test, which then does not depend on others."""
    if hasattr(request.module, "RNG"):
        request.module.RNG = np.random.default_rng(7)
