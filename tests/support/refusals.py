"""What a refusal must look like, said in one line per case."""

from collections.abc import Callable

import pytest

from everlog.domain.errors import Code, RefusedError


def check_refused(
    act: Callable[[], object], code: Code, *, message: str = "", **details: object
) -> None:
    """Check that an act is refused with this code, a message holding this text, these details."""
    with pytest.raises(RefusedError) as raised:
        act()

    assert raised.value.code is code
    assert message in raised.value.message
    assert raised.value.details == details
