"""Plans of texts that come again, and which of them the event loop may evaluate by itself.

Preparing a text takes longer than most queries run, so that its plan is kept, with what it was
compiled to. A query is *light* if what it does is little for each byte that it reads, whatever the
log holds; where all that it reads is at hand, too, handing it to a thread would take longer than
evaluating it.

Guarantees that what the loop is given to do takes a few hundred microseconds at most, whatever the
text and the log are: it is bounded by the nodes of the query's expressions, the bytes that they are
evaluated with, and the steps that the index takes.
What is left to others: where any other query runs (`queries`).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    Constant,
    FieldAccess,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    operands,
)
from everlog.eventql.execution.memory_budget import size_of
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Plan
from everlog.eventql.query import is_incremental, prepare
from everlog.eventql.trees import walk
from everlog.eventql.types import ARRAY, RECORD, STRING
from everlog.service.querying.log import HeadLog, to_storage_scan
from everlog.storage.engine import Head, LogReader

# Characters of all texts that are kept, each counted with what its plan takes at least. A plan with
# what it is compiled to takes some 30 KB, and up to 130 bytes for each character: 20 MB together.
_KEPT_SIZE_MAX: Final = 128 * 1024
_TEXT_SIZE_MIN: Final = 256

_JSON_ONLY: Final = ARRAY | RECORD

# Of a light query: characters, which bound what stands in it, and nodes of its expressions.
_TEXT_LENGTH_MAX: Final = 4 * 1024
_NODES_MAX: Final = 256

# A field of data may hold an array or a record, as large as the event, which is decoded and gone
# through where it is used: 20 ns for each byte, as many other nodes take together.
_JSON_WEIGHT: Final = 24
# A function or a conversion: half a microsecond for each event.
_CALL_WEIGHT: Final = 3
# Telling which of some lines a query is about: as many nodes take as long.
SELECTION_WEIGHT: Final = 6
# A constant may be a list, which is gone through: so many bytes of it are like one node.
_CONSTANT_SIZE: Final = 64

# The weight of a query times the bytes that it is evaluated with, an event having 500 bytes mostly:
# at worst some hundred microseconds.
_WORK_MAX: Final = 512 * 1024


class PreparedQuery(NamedTuple):
    """A plan, and what is known of it without the log."""

    plan: Plan
    is_incremental: bool
    # What its expressions do for each byte, None if the query is not light.
    weight: int | None


class KeptPlans:
    """Prepared queries by their texts, those that were asked for last; on the event loop only."""

    def __init__(self, size_max: int = _KEPT_SIZE_MAX) -> None:
        """Start with none."""
        self._size_max: Final = size_max
        self._size = 0
        self._kept: Final[OrderedDict[str, PreparedQuery]] = OrderedDict()

    def find(self, text: str) -> PreparedQuery | None:
        """Return what was kept of a text."""
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
        return found

    def keep(self, prepared: PreparedQuery) -> None:
        """Keep a query, and let go of those that nobody has asked for the longest."""
        text = prepared.plan.query.text
        if text in self._kept:
            # Two have prepared it at the same time: what the first was compiled to is not lost.
            return
        self._kept[text] = prepared
        self._size += _size_of(text)
        while self._size > self._size_max:
            oldest, _ = self._kept.popitem(last=False)
            self._size -= _size_of(oldest)


def _size_of(text: str) -> int:
    return _TEXT_SIZE_MIN + len(text)


def prepare_query(text: str, *, is_signed: bool) -> PreparedQuery:
    """Return a query as it is kept; `is_signed` tells whether events have signatures.

    Raises:
        QueryMalformedError: The text is no query.
    """
    plan = prepare(text)
    return PreparedQuery(plan, is_incremental(plan), _weigh(plan, is_signed=is_signed))


def find_at_hand(prepared: PreparedQuery, log: LogReader, head: Head) -> HeadLog | None:
    """Return the log of a light query with all that it reads, None if that is not at hand."""
    if prepared.weight is None:
        return None
    plan = prepared.plan
    scan = plan.sources[0].source
    assert isinstance(scan, EventScan)
    storage_scan = to_storage_scan(scan, log, head)
    if plan.index_answer is IndexAnswer.COUNT:
        count = log.count_few(storage_scan, head)
        return None if count is None else HeadLog(log, head, count=count)
    block = log.read_few(storage_scan, head)
    if block is None or len(block.lines) * prepared.weight > _WORK_MAX:
        return None
    return HeadLog(log, head, lines=bytes(block.lines))


def _weigh(plan: Plan, *, is_signed: bool) -> int | None:
    """Return the weight of a query, None if it may have more to do than that tells."""
    if plan.is_explain or len(plan.query.text) > _TEXT_LENGTH_MAX or len(plan.sources) > 1:
        return None
    scan = plan.sources[0].source
    if not isinstance(scan, EventScan) or plan.index_answer is IndexAnswer.COUNT_BY_EVENT_TYPE:
        return None
    if scan.time_start is not None or scan.time_stop is not None:
        # Finding a time takes reading.
        return None
    if any(key.type & _JSON_ONLY for key in _keys(plan)):
        return None
    weight = 0
    for count, node in enumerate(_nodes(plan.query), 1):
        if count > _NODES_MAX or _is_heavy(node, is_signed=is_signed):
            return None
        weight += _weight_of(node)
    return weight


def _weight_of(node: TypedExpression) -> int:
    match node:
        case Constant():
            return 1 + size_of(node.value) // _CONSTANT_SIZE
        case FieldAccess() if node.type & _JSON_ONLY:
            return _JSON_WEIGHT
        case ScalarCall() | TypeConversion():
            return _CALL_WEIGHT
        case _:
            return 1


def _keys(plan: Plan) -> Iterator[TypedExpression]:
    """Yield what is told apart or sorted: arrays and records are slow to compare."""
    query = plan.query
    if query.group_key is not None:
        yield query.group_key
    if plan.ordering is not None:
        yield plan.ordering.key
    if query.is_distinct:
        yield query.projection


def _nodes(query: AnalyzedQuery) -> Iterator[TypedExpression]:
    """Yield all nodes of a query's expressions."""
    roots = [query.where, query.group_key, query.having, query.projection, query.skip, query.top]
    roots += [call.argument for call in query.aggregates]
    if query.ordering is not None:
        roots.append(query.ordering.key)
    for root in roots:
        if root is not None:
            yield from walk(root, operands)


def _is_heavy(node: TypedExpression, *, is_signed: bool) -> bool:
    """Tell whether a node may take more than some steps for each byte that it is given."""
    if isinstance(node, ScalarCall):
        # What makes a text may make a longer one, and the next function one that is longer still.
        return bool(node.type & STRING)
    if isinstance(node, AggregateValue):
        # To tell whether all values are the same, they are compared.
        return bool(node.type & _JSON_ONLY)
    # The only source is one of events. Signing one takes as long as evaluating a whole query.
    return is_signed and isinstance(node, FieldAccess) and node.path[:1] in {(), ("signature",)}
