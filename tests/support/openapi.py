"""The OpenAPI document as a judge of what goes over the wire."""

import functools
from typing import Any

import jsonschema_rs
import msgspec

from everlog.api.openapi import read_document
from everlog.api.routes import OPENAPI_3_2_PATH, OPENAPI_PATH


@functools.cache
def document() -> dict[str, Any]:
    """Return the document that has words for all of the API."""
    found: dict[str, Any] = msgspec.json.decode(read_document(OPENAPI_3_2_PATH))
    return found


@functools.cache
def document_3_1() -> dict[str, Any]:
    """Return the document for tools."""
    found: dict[str, Any] = msgspec.json.decode(read_document(OPENAPI_PATH))
    return found


def check_against(schema: dict[str, Any], value: object) -> None:
    """Fail unless the value is what a schema of the document describes."""
    validator = jsonschema_rs.validator_for({**schema, "components": document()["components"]})
    errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, errors
