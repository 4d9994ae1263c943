/**
 * What the page of events shows: its state, which is its address, and what to ask the server for.
 *
 * A page of the log is told by an event that it begins behind, never by a number of pages: ids are
 * places in the log, so that every page is found at once, however long the log is, and shows the
 * same events tomorrow.
 */

import { isField } from "./field.js";

/**
 * `from`: the page begins with this id and goes on with newer ones; `before`: it ends before this
 * id; neither is the newest page. `since` and `until` are times.
 * @typedef {{subject: string, recursive: boolean, types: string[], since: string, until: string,
 *   from: string | null, before: string | null, isOldestFirst: boolean, size: number,
 *   columns: string[], isLive: boolean}} State
 */

/** @typedef {import("../api.js").Selection} Selection */

export const SIZES = [25, 50, 100, 250, 500];
export const DEFAULT_SIZE = 100;
export const DEFAULT_COLUMNS = ["id", "time", "subject", "type", "data"];
// More of them can neither be read nor be typed.
const COLUMNS_MAX = 24;
const TYPES_MAX = 100;

const ID = /^[0-9]{1,19}$/;

/**
 * Returns the state that parameters stand for; what is not understood is left out.
 * @param {URLSearchParams} params
 * @returns {State}
 */
export function stateOf(params) {
  const columns = unique(params.getAll("column").filter(isField)).slice(0, COLUMNS_MAX);
  const size = Number(params.get("size"));
  const from = idOf(params.get("from"));
  return {
    subject: params.get("subject") || "/",
    recursive: params.get("recursive") !== "false",
    types: unique(params.getAll("type").filter((each) => each !== "")).slice(0, TYPES_MAX),
    since: params.get("since") ?? "",
    until: params.get("until") ?? "",
    from,
    before: from === null ? idOf(params.get("before")) : null,
    isOldestFirst: params.get("order") === "chronological",
    size: SIZES.includes(size) ? size : DEFAULT_SIZE,
    columns: columns.length === 0 ? DEFAULT_COLUMNS : columns,
    isLive: params.get("live") === "true",
  };
}

/**
 * Returns the parameters of a state, without those that say what is so anyway.
 * @param {State} state
 * @returns {URLSearchParams}
 */
export function paramsOf(state) {
  const params = new URLSearchParams();
  const isDefault = state.columns.join() === DEFAULT_COLUMNS.join();
  /** @type {[string, string | string[] | null | false][]} */
  const all = [
    ["subject", state.subject !== "/" && state.subject],
    ["recursive", state.recursive ? false : "false"],
    ["type", state.types],
    ["since", state.since],
    ["until", state.until],
    ["from", state.from],
    ["before", state.before],
    ["order", state.isOldestFirst && "chronological"],
    ["size", state.size !== DEFAULT_SIZE && String(state.size)],
    ["column", isDefault ? [] : state.columns],
    ["live", state.isLive && "true"],
  ];
  for (const [name, value] of all) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each) {
        params.append(name, each);
      }
    }
  }
  return params;
}

/**
 * Returns the state of another page; what depends on the place in the log is given up.
 * @param {State} state
 * @param {Partial<State>} changes
 * @returns {State}
 */
export function moved(state, changes) {
  return { ...state, from: null, before: null, isLive: false, ...changes };
}

/** Tells whether the newest page is shown, to which new events belong. */
export function isNewest(/** @type {State} */ state) {
  return state.from === null && state.before === null && state.until === "";
}

/**
 * Returns what to ask for to see a page, or null where nothing can be on it. One event more than
 * fits is asked for, which tells that there is another page.
 *
 * `range` is what the times come to: the ids of the first event since, and of the first event
 * behind, null where there is no such bound.
 * @param {State} state
 * @param {{first: bigint | null, end: bigint | null}} range
 * @returns {Selection | null}
 */
export function selectionOf(state, { first, end }) {
  const wanted = BigInt(state.size + 1);
  let lower = first;
  let upper = end === null ? null : end - 1n;
  // Of the whole log, the ids of a page are known; of a part of it only where it begins.
  const isDense = state.subject === "/" && state.recursive && state.types.length === 0;
  if (state.from !== null) {
    lower = max(lower, BigInt(state.from));
    if (isDense) {
      upper = min(upper, lower + wanted - 1n);
    }
  } else if (state.before !== null) {
    upper = min(upper, BigInt(state.before) - 1n);
    if (isDense) {
      lower = max(lower, max(upper - wanted + 1n, 0n));
    }
  }
  if (upper !== null && (upper < 0n || (lower !== null && lower > upper))) {
    return null;
  }
  /** @type {Selection} */
  const selection = { subject: state.subject, recursive: state.recursive };
  selection.order = state.from === null ? "antichronological" : "chronological";
  if (lower !== null && lower > 0n) {
    selection.lowerBound = { id: String(lower), type: "inclusive" };
  }
  if (upper !== null) {
    selection.upperBound = { id: String(upper), type: "inclusive" };
  }
  if (state.types.length > 0) {
    selection.types = state.types;
  }
  return selection;
}

/**
 * Returns what a page shows of the events that came, and which pages are beside it.
 * @template {{id: string}} E
 * @param {State} state
 * @param {E[]} events In the order in which they were asked for.
 * @returns {{rows: E[], older: Partial<State> | null, newer: Partial<State> | null}}
 */
export function pageOf(state, events) {
  const isForward = state.from !== null;
  const hasMore = events.length > state.size;
  const rows = events.slice(0, state.size);
  if (isForward) {
    rows.reverse();
  }
  // Newest first so far.
  const newest = rows[0];
  const oldest = rows[rows.length - 1];
  const hasOlder = isForward ? state.from !== "0" : hasMore;
  const hasNewer = isForward ? hasMore : state.before !== null;
  const beginning = oldest?.id ?? state.from ?? state.before;
  const following = newest === undefined ? state.before : String(BigInt(newest.id) + 1n);
  const result = {
    rows,
    older: hasOlder && beginning !== null ? { before: beginning } : null,
    newer: hasNewer && following !== null ? { from: following } : null,
  };
  if (state.isOldestFirst) {
    rows.reverse();
  }
  return result;
}

/**
 * Returns a time as the API writes it, of what somebody typed: a day, a time of it without a zone,
 * which is meant in UTC, or all of RFC 3339. It is null where it is none.
 * @param {string} text
 * @returns {string | null}
 */
export function timeOf(text) {
  const found =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/i.exec(
      text.trim(),
    );
  if (found === null) {
    return null;
  }
  const [, day, minutes = "00:00", seconds = "00", fraction = "", zone = "Z"] = found;
  const moment = new Date(`${day}T${minutes}:${seconds}${zone.toUpperCase()}`);
  if (Number.isNaN(moment.getTime()) || !moment.toISOString().startsWith(String(day).slice(0, 1))) {
    return null;
  }
  // Some days overflow silently.
  const check = new Date(`${day}T00:00:00Z`);
  if (Number.isNaN(check.getTime()) || check.toISOString().slice(0, 10) !== day) {
    return null;
  }
  return `${moment.toISOString().slice(0, 19)}${fraction}Z`;
}

/** @param {string | null} text */
function idOf(text) {
  return text !== null && ID.test(text) ? String(BigInt(text)) : null;
}

/**
 * @param {bigint | null} left
 * @param {bigint} right
 */
function max(left, right) {
  return left === null || left < right ? right : left;
}

/**
 * @param {bigint | null} left
 * @param {bigint} right
 */
function min(left, right) {
  return left === null || left > right ? right : left;
}

/** @param {string[]} texts */
function unique(texts) {
  return [...new Set(texts)];
}
