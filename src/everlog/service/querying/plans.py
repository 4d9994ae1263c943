"""Plans of texts that come again, and which of them the server itself may evaluate.

Preparing a text takes longer than most queries run, so that its plan is kept, with what it was
compiled to. Whether the server evaluates a query, and where, is told before anything is evaluated,
by what the text can make of each byte and by how many bytes there are:

- A query is *light* if what it does is little for each byte that it reads, whatever the log holds;
  where all that it reads is at hand, too, handing it to a thread would take longer than evaluating
  it, so that the event loop does.
- A query is *short* if it has few nodes and few rows of few bytes to judge, and makes no text
  longer; then it may be tried on a thread.

Guarantees that what the loop is given to do takes a few hundred microseconds at most, and each step
that a thread cannot be interrupted in some milliseconds, whatever the text and the log are: they
are bounded by the nodes of the query's expressions, the bytes that they are evaluated with, and the
steps that the index takes.
What is left to others: where any other query runs, and for how long (`queries`).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    Constant,
    FieldAccess,
    ScalarCall,
    TypeConversion,
    TypedExpression,
)
from everlog.eventql.execution.memory_budget import size_of
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Plan
from everlog.eventql.query import is_incremental, prepare
from everlog.eventql.types import ARRAY, RECORD, STRING
from everlog.service.querying.log import (
    HeadLog,
    Needs,
    needs_of,
    nodes_of,
    to_storage_scan,
    volume_of,
)
from everlog.storage.engine import Head, LogReader

# Bytes of all that is kept, roughly: what a plan with what it is compiled to takes at least, and
# more for each of its nodes, and for each character of its text.
_KEPT_SIZE_MAX: Final = 32 * 1024 * 1024
_KEPT_SIZE_MIN: Final = 16 * 1024
_KEPT_SIZE_OF_NODE: Final = 5 * 1024
_KEPT_SIZE_OF_CHARACTER: Final = 16

_JSON_ONLY: Final = ARRAY | RECORD

# Of a text that the server prepares: preparing it is some ten milliseconds for a thread.
TEXT_LENGTH_MAX: Final = 4 * 1024

# Of a plan that the server keeps, its subqueries included; a field counts as often as its path is
# long. Python's compiler cannot be interrupted, and takes up to 50 microseconds for each node.
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

# Signing an event takes as long as evaluating a whole query.
_SIGNATURE_WEIGHT: Final = 200

# The weight of a query times the bytes that it is evaluated with, an event having 500 bytes mostly.
# On the event loop: at worst some hundred microseconds.
_WORK_MAX: Final = 512 * 1024
# On a thread: at worst some hundred milliseconds, of which it gets fewer (`queries`).
_SHORT_WORK_MAX: Final = 256 * 1024 * 1024

# Rows that a short query judges, and bytes that they are made of. A row is no less than so many.
_SHORT_ROWS_MAX: Final = 1_000
_SHORT_SIZE_MAX: Final = 1024 * 1024
_ROW_SIZE_MIN: Final = 256

# Functions that make a text longer: the next one would make one that is longer still.
_REPLACE: Final = "REPLACE"


class PreparedQuery(NamedTuple):
    """A text, and what is known of it without the log."""

    text: str
    needs: Needs
    # None where only a process may have it: it is large.
    plan: Plan | None
    # Of the plan, as far as it is kept.
    node_count: int
    is_incremental: bool
    # What its expressions do for each byte, None if the query is not light.
    weight: int | None
    # The same of one that may be short, None if it is not.
    short_weight: int | None


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
        text = prepared.text
        if text in self._kept:
            # Two have prepared it at the same time: what the first was compiled to is not lost.
            return
        self._kept[text] = prepared
        self._size += _size_of(prepared)
        while self._size > self._size_max:
            _, oldest = self._kept.popitem(last=False)
            self._size -= _size_of(oldest)

    def note_long(self, prepared: PreparedQuery) -> None:
        """Note that a query was not short, whatever it had looked like."""
        if prepared.text in self._kept:
            self._kept[prepared.text] = prepared._replace(short_weight=None)


def _size_of(prepared: PreparedQuery) -> int:
    nodes, characters = prepared.node_count, len(prepared.text)
    return _KEPT_SIZE_MIN + nodes * _KEPT_SIZE_OF_NODE + characters * _KEPT_SIZE_OF_CHARACTER


def prepare_query(text: str, *, is_signed: bool, has_processes: bool = True) -> PreparedQuery:
    """Return a query as it is kept; `is_signed` tells whether events have signatures.

    The plan is kept where it is small, or where there are no processes to leave it to.

    Raises:
        QueryMalformedError: The text is no query.
    """
    plan = prepare(text)
    needs = needs_of(plan)
    node_count = 0
    for node in _all_nodes(plan):
        node_count += len(node.path) or 1 if isinstance(node, FieldAccess) else 1
        if has_processes and node_count > _NODES_MAX:
            return large_query(text, needs)
    return PreparedQuery(
        text,
        needs,
        plan,
        node_count,
        is_incremental(plan) and not _holds_values(plan),
        _weigh_light(plan, is_signed=is_signed),
        _weigh_short(plan, is_signed=is_signed),
    )


def large_query(text: str, needs: Needs) -> PreparedQuery:
    """Return a query whose plan only processes have."""
    return PreparedQuery(
        text,
        needs,
        plan=None,
        node_count=0,
        is_incremental=False,
        weight=None,
        short_weight=None,
    )


def is_large(text: str) -> bool:
    """Tell whether even preparing a text is left to a process."""
    return len(text) > TEXT_LENGTH_MAX


def find_at_hand(prepared: PreparedQuery, log: LogReader, head: Head) -> HeadLog | None:
    """Return the log of a light query with all that it reads, None if that is not at hand."""
    plan = prepared.plan
    if prepared.weight is None or plan is None:
        return None
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


def is_short(prepared: PreparedQuery, log: HeadLog) -> bool:
    """Tell whether a query has so little to do that it may be tried on a thread."""
    plan, weight = prepared.plan, prepared.short_weight
    if plan is None or weight is None:
        return False
    volume = volume_of(plan, log, rows_max=_SHORT_ROWS_MAX)
    if volume is None or volume.size > _SHORT_SIZE_MAX:
        return False
    return max(volume.size, volume.rows * _ROW_SIZE_MIN) * weight <= _SHORT_WORK_MAX


def _weigh_light(plan: Plan, *, is_signed: bool) -> int | None:
    """Return the weight of a query, None if it may have more to do than that tells."""
    if plan.is_explain or is_large(plan.query.text) or len(plan.sources) > 1:
        return None
    scan = plan.sources[0].source
    if not isinstance(scan, EventScan) or plan.index_answer is IndexAnswer.COUNT_BY_EVENT_TYPE:
        return None
    if scan.time_start is not None or scan.time_stop is not None:
        # Finding a time takes reading.
        return None
    if any(key.type & _JSON_ONLY for key in _keys(plan)):
        return None
    nodes = [*nodes_of(plan.query)]
    if any(_is_heavy(node, is_signed=is_signed) for node in nodes):
        return None
    return sum(map(_weight_of, nodes))


def _weigh_short(plan: Plan, *, is_signed: bool) -> int | None:
    """Return the weight of a query and its subqueries, None if one makes texts longer."""
    weight = 0
    for node in _all_nodes(plan):
        if _makes_longer(node):
            return None
        weight += _weight_of(node)
        if is_signed and _is_signature(node):
            weight += _SIGNATURE_WEIGHT
    return weight


def _all_nodes(plan: Plan) -> Iterator[TypedExpression]:
    """Yield all nodes of a query's expressions, those of its subqueries too."""
    pending = [plan]
    while pending:
        current = pending.pop()
        yield from nodes_of(current.query)
        pending += [entry.source for entry in current.sources if isinstance(entry.source, Plan)]


def _holds_values(plan: Plan) -> bool:
    """Tell whether aggregates take more memory the more rows there are."""
    return any(call.aggregate.holds_values for call in plan.query.aggregates)


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


def _is_heavy(node: TypedExpression, *, is_signed: bool) -> bool:
    """Tell whether a node may take more than some steps for each byte that it is given."""
    if isinstance(node, ScalarCall):
        # What makes a text may make a longer one, and the next function one that is longer still.
        return bool(node.type & STRING)
    if isinstance(node, AggregateValue):
        # To tell whether all values are the same, they are compared.
        return bool(node.type & _JSON_ONLY)
    return is_signed and _is_signature(node)


def _makes_longer(node: TypedExpression) -> bool:
    """Tell whether a text that a node makes may be many times as long as what it is made of."""
    if not isinstance(node, ScalarCall) or node.function.name != _REPLACE:
        return False
    _, old, new = (
        argument.value if isinstance(argument, Constant) else None for argument in node.arguments
    )
    return not (isinstance(old, str) and isinstance(new, str) and len(new) <= len(old))


def _is_signature(node: TypedExpression) -> bool:
    """Tell whether a node is a signature, or an event with one in it."""
    return isinstance(node, FieldAccess) and node.path[:1] in {(), ("signature",)}
