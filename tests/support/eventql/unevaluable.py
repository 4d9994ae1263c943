"""What must fail while a query is evaluated, and what its error must say."""

from collections.abc import Callable

import pytest

from everlog.eventql.evaluation.values import EvaluationError


def check_unevaluable(evaluate: Callable[[], object], message: str) -> None:
    """Check that an evaluation fails with exactly this message."""
    with pytest.raises(EvaluationError) as caught:
        evaluate()

    assert str(caught.value) == message
