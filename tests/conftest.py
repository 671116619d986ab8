"""Settings that every test shares."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "convscope",
    deadline=None,  # machines are shared and noisy: no timed assertions
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("convscope")
