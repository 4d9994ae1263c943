/** The EventQL query that asks for what a page shows. */

/** @typedef {import("./table.js").State} State */

const TRACED = ["id", "time", "subject", "type", "source", "traceparent"];

/**
 * Returns a text as a string of EventQL; null where it has both kinds of quotes or a line break,
 * since there are no escapes.
 * @param {string} text
 * @returns {string | null}
 */
export function quoted(text) {
  if (/[\n\r]/.test(text) || (text.includes("'") && text.includes('"'))) {
    return null;
  }
  return text.includes("'") ? `"${text}"` : `'${text}'`;
}

/**
 * Returns the query for a page of events; `since` and `until` are times as the API writes them.
 * @param {State} state
 * @param {{since: string | null, until: string | null}} times
 * @returns {string}
 */
export function queryOf(state, { since, until }) {
  const conditions = [...conditionsOf(state)];
  if (since !== null) {
    conditions.push(`e.time >= '${since}' AS DATETIME`);
  }
  if (until !== null) {
    conditions.push(`e.time < '${until}' AS DATETIME`);
  }
  if (state.from !== null) {
    conditions.push(`e.id AS INT >= ${state.from}`);
  }
  if (state.before !== null) {
    conditions.push(`e.id AS INT < ${state.before}`);
  }
  return [
    "FROM e IN events",
    ...(conditions.length === 0 ? [] : [`WHERE ${conditions.join("\n  AND ")}`]),
    `ORDER BY e.id AS INT ${state.from === null ? "DESC" : "ASC"}`,
    `TOP ${state.size}`,
    "PROJECT INTO e",
  ].join("\n");
}

/**
 * Returns the query for how many events a filter means, without regard to pages.
 * @param {State} state
 * @param {{since: string | null, until: string | null}} times
 */
export function countOf(state, times) {
  const all = queryOf({ ...state, from: null, before: null }, times);
  return `${all.slice(0, all.indexOf("\nORDER BY"))}\nPROJECT INTO COUNT()`;
}

/**
 * Returns the query for the id of the first event at or after a time.
 * @param {string} time
 */
export function firstSince(time) {
  return [
    "FROM e IN events",
    `WHERE e.time >= '${time}' AS DATETIME`,
    "ORDER BY e.id AS INT",
    "TOP 1",
    "PROJECT INTO e.id",
  ].join("\n");
}

/**
 * Returns the query for the events of a trace: those whose `traceparent` names it.
 * @param {string} trace 32 hexadecimal digits.
 * @param {{first: bigint, last: bigint} | null} range Ids, or all.
 * @param {number} countMax
 */
export function traceOf(trace, range, countMax) {
  const where = [`STARTSWITH(e.traceparent, '00-${trace}-')`];
  if (range !== null) {
    where.unshift(`e.id AS INT >= ${range.first} AND e.id AS INT <= ${range.last}`);
  }
  return [
    "FROM e IN events",
    `WHERE ${where.join("\n  AND ")}`,
    "ORDER BY e.id AS INT",
    `TOP ${countMax}`,
    `PROJECT INTO { ${TRACED.map((name) => `${name}: e.${name}`).join(", ")} }`,
  ].join("\n");
}

/** @param {State} state */
function* conditionsOf({ subject, recursive, types }) {
  if (types.length === 1) {
    yield `e.type == '${types[0]}'`;
  } else if (types.length > 1) {
    yield `[${types.map((each) => `'${each}'`).join(", ")}] CONTAINS e.type`;
  }
  if (!recursive) {
    yield `e.subject == '${subject}'`;
  } else if (subject !== "/") {
    yield `STARTSWITH(e.subject, '${subject}')`;
    yield `(e.subject == '${subject}' OR STARTSWITH(e.subject, '${subject}/'))`;
  }
}

/**
 * Returns the query for all events of a subject, oldest first.
 * @param {string} subject
 */
export function historyOf(subject) {
  return [
    "FROM e IN events",
    `WHERE e.subject == '${subject}'`,
    "ORDER BY e.id AS INT",
    "PROJECT INTO e",
  ].join("\n");
}
