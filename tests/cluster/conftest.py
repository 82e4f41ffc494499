"""These tests start real clusters, so they run only where a command names them."""


def pytest_ignore_collect(config):
    """Pass the directory over in a run of all tests; see `make test-slurm`."""
    return None if any("tests/cluster" in each for each in config.args) else True
