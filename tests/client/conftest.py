"""A running service for the client's tests: the same as for the service's own."""

from tests.service.conftest import collins, collins_again, hopper_file, running

__all__ = ["collins", "collins_again", "hopper_file", "running"]
