"""Every feature that users were promised, against the simulator."""

from pytest_bdd import scenarios

scenarios("../../features/")
