"""Whatever the schema and the data: what is told of a violation is what the validator found."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.domain.errors import RefusedError
from everlog.domain.schema import compile_event_schema, explain_violation, matches
from everlog.domain.schema_reasons import explain

NAMES = st.sampled_from("abc")

LEAVES = st.sampled_from(
    [
        True,
        False,
        {"type": "string"},
        {"type": ["null", "object"]},
        {"minimum": 2},
        {"maxLength": 1},
        {"const": 1},
        {"enum": ["a", 2]},
        {"enum": [{"anyOf": [1]}, 2]},
        {"required": ["a", "b"]},
        {"pattern": "^a"},
        {"uniqueItems": True},
        {"minProperties": 1},
        {"$ref": "#/$defs/x"},
        {"$ref": "#/$defs/y"},
        {"$ref": "#/$defs/x/anyOf/1"},
        {"$ref": "#"},
    ]
)


def schemas_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=3)
    keywords = {
        "additionalProperties": inner,
        "allOf": several,
        "anyOf": several,
        "contains": inner,
        "dependentSchemas": named,
        "else": inner,
        "if": inner,
        "items": inner,
        "not": inner,
        "oneOf": several,
        "prefixItems": several,
        "properties": named,
        "propertyNames": inner,
        "required": st.lists(NAMES, unique=True),
        "then": inner,
        "unevaluatedItems": inner,
        "unevaluatedProperties": inner,
    }
    return st.fixed_dictionaries({}, optional=keywords)


INNER = st.recursive(LEAVES, schemas_of, max_leaves=8)
DRAFTS = st.sampled_from(
    [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ]
)
SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(NAMES, INNER, max_size=3),
        "$defs": st.fixed_dictionaries(
            {
                "x": st.fixed_dictionaries({"anyOf": st.lists(INNER, min_size=2, max_size=3)}),
                "y": INNER,
            }
        ),
    },
    optional={
        "$schema": DRAFTS,
        "anyOf": st.lists(INNER, min_size=1, max_size=3),
        "oneOf": st.lists(INNER, min_size=1, max_size=3),
        "unevaluatedProperties": INNER,
    },
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["a", "b", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(SCHEMAS, st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_is_told_is_what_the_validator_finds_without_bounds(
    schema: dict[str, Any], data: dict[str, Any]
) -> None:
    try:
        compiled = compile_event_schema("io.everlog.test", json.dumps(schema).encode())
    except RefusedError:
        return
    if not matches(compiled, data):
        assert compiled.validator is not None
        errors = list(compiled.validator.iter_errors(data))
        assert explain_violation(compiled, data) == explain(errors)
