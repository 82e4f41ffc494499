"""Every feature that users were promised, against the simulator."""

import pytest
from pytest_bdd import scenarios

pytestmark = pytest.mark.simulated
scenarios("../../features/")
