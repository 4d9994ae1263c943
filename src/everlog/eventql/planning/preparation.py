"""Preparation: from a text to a plan, through all stages that need no log."""

from everlog.eventql.analysis.analyzer import analyze
from everlog.eventql.language.parser import parse
from everlog.eventql.planning.plan import Plan
from everlog.eventql.planning.planner import plan_query


def prepare(text: str) -> Plan:
    """Return the plan for a query.

    Raises:
        QueryMalformedError: The text is no query, or one without meaning.
    """
    statement = parse(text)
    return plan_query(analyze(statement.query, text), is_explain=statement.is_explain)
