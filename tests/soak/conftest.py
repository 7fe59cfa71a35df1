from tests.integration.faults.conftest import root, start_cluster  # noqa: F401
