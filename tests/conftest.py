import os

from hypothesis import HealthCheck, settings

collect_ignore = ["mutants"]  # a command, with an extra of its own

# Kernels compile during the first examples, so a time limit would measure the compiler.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=int(os.environ.get("BLOCKMAT_TEST_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,  # a change is judged on the same examples every time
)
settings.load_profile("default")
