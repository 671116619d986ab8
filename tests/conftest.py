"""Settings that every test shares."""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch is loaded; as the command line does
settings.register_profile(
    "convscope",
    deadline=None,  # machines are shared and noisy: no timed assertions
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("convscope")
