"""The defaults of a source's options."""

from worker.api.sources import _SourceOptions
from worker.operations.setup.sources import _DEFAULT_OPTIONS


def test_the_operations_know_the_default_of_every_option_that_the_api_takes() -> None:
    assert _SourceOptions().load({}) == _DEFAULT_OPTIONS
