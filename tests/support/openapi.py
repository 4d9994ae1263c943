"""The OpenAPI document as a judge of what goes over the wire."""

import functools
from typing import Any

import jsonschema_rs

from everlog.api.openapi import build_document
from everlog.api.routes import ROUTES


@functools.cache
def document() -> dict[str, Any]:
    """Return the document that the server shows."""
    return build_document(ROUTES)


def check_against(schema: dict[str, Any], value: object) -> None:
    """Fail unless the value is what a schema of the document describes."""
    validator = jsonschema_rs.validator_for({**schema, "components": document()["components"]})
    errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, errors
