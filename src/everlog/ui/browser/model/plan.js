/**
 * The plan of a query, which `EXPLAIN` returns, as steps that a person can read (docs/eventql/plans.md).
 *
 * It gives what the server says in sentences, in the order in which it happens, and judges one thing:
 * how much of the log has to be read.
 */

/**
 * @typedef {object} Step
 * @property {"source" | "answer" | "judge" | "group" | "sort" | "stop" | "hold" | "note"} kind
 * @property {string} title
 * @property {string[]} details code or names, one each
 * @property {{read: number, all: number} | null} share of a source: how many events are read
 * @property {Step[]} steps of a subquery: its own
 */

const SELECTIONS = /** @type {Record<string, string>} */ ({
  eventTypes: "of the type",
  subjects: "on the subject",
  subjectPrefix: "on subjects that begin with",
  idFrom: "from the id",
  idBefore: "before the id",
  timeFrom: "from the time",
  timeBefore: "before the time",
});

/**
 * Tell whether a row is a plan: only `EXPLAIN` makes rows like this one.
 * @param {any} row
 */
export function isPlan(row) {
  return Array.isArray(row?.sources) && Array.isArray(row?.holds);
}

/** @param {string} text */
export function isExplain(text) {
  const bare = text.replace(/^(?:\s|\/\/[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/, "");
  return /^EXPLAIN(?![A-Za-z0-9_])/i.test(bare);
}

/**
 * Return a text that asks for the plan of a query, or with `false` for its rows.
 * @param {string} text
 * @param {boolean} isAsked
 */
export function withExplain(text, isAsked) {
  if (isExplain(text) === isAsked) {
    return text;
  }
  return isAsked ? `EXPLAIN\n${text}` : text.replace(/EXPLAIN\s*/i, "");
}

/**
 * @param {any} plan
 * @returns {Step[]}
 */
export function stepsOf(plan) {
  const steps = plan.sources.map(sourceStep);
  const add = (/** @type {Step["kind"]} */ kind, /** @type {string} */ title, details = [""]) => {
    steps.push({ kind, title, details: details.filter(Boolean), share: null, steps: [] });
  };
  if (plan.answeredByIndex) {
    add("answer", `The index knows ${plan.answeredByIndex}: no event is read`);
  }
  if (plan.judgesEachRow) {
    const count = plan.judgesEachRow.length;
    add(
      "judge",
      `Judge each row by ${count === 1 ? "a condition" : `${count} conditions`}`,
      plan.judgesEachRow,
    );
  }
  if (plan.groupsBy) {
    add("group", "Group rows by", [plan.groupsBy]);
  }
  if (plan.sortsBy) {
    add("sort", "Sort rows by", [plan.sortsBy]);
  }
  if (plan.endsAfterRows !== undefined) {
    const rows = plan.endsAfterRows === 1 ? "the first row" : `${plan.endsAfterRows} rows`;
    add(
      "stop",
      plan.endsAfterRows === 0 ? "Certain without a row" : `End after ${rows}: then it is certain`,
    );
  }
  if (plan.holds.length > 0) {
    add("hold", "Keep in memory", plan.holds);
  }
  for (const note of plan.notes ?? []) {
    add("note", note);
  }
  return steps;
}

/**
 * @param {any} source
 * @returns {Step}
 */
function sourceStep(source) {
  if (source.source === "subquery") {
    return {
      kind: "source",
      title: "Run a subquery",
      details: [],
      share: null,
      steps: stepsOf(source),
    };
  }
  if (source.source !== "events") {
    const names = source.source === "subjects" ? "subjects" : "event types";
    return { kind: "source", title: `Take all ${names}`, details: [], share: null, steps: [] };
  }
  const chosen = Object.entries(source.selectedByIndex).map(([name, value]) =>
    [SELECTIONS[name] ?? name, listed(value)].join(" "),
  );
  const share = { read: source.eventsToReadAtMost, all: source.eventsInLog };
  const order = source.order === "latest first" ? "the latest first" : "the oldest first";
  const how = chosen.length > 0 ? "events that the index finds" : "all events of the log";
  const title = share.read === 0 ? "Read no event" : `Read ${how}, ${order}`;
  return { kind: "source", title, details: chosen, share, steps: [] };
}

/** @param {any} value */
function listed(value) {
  return Array.isArray(value) ? value.join(" or ") || "none" : String(value);
}

/**
 * Return what somebody should know who waits for this query, null where all is well.
 * @param {any} plan
 * @returns {string | null}
 */
export function adviceOf(plan) {
  const source = plan.sources.find((/** @type {any} */ each) => each.source === "events");
  const readsAll = source && source.eventsToReadAtMost === source.eventsInLog;
  if (!readsAll || source.eventsInLog < 10_000) {
    return null;
  }
  return "All events have to be read. A condition on type, subject, id or time in front of the others lets the index choose.";
}
