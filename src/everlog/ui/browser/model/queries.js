/**
 * The queries that a person keeps: those that ran of late, and those that were saved under a name.
 * Texts only: neither what came of them nor a token.
 */

/**
 * @typedef {{text: string, at: number}} Past `at` is when it ran, in milliseconds since 1970
 * @typedef {{name: string, text: string}} Saved
 * @typedef {{saved: Saved[], history: Past[]}} Queries
 */

export const HISTORY_MAX = 100;
export const SAVED_MAX = 500;
// The browser keeps some megabytes for all pages of a server together.
const TEXT_MAX = 20_000;

/** @type {Queries} */
export const NONE = { saved: [], history: [] };

/**
 * Return what a browser has kept, without what is none of it.
 * @param {any} value
 * @returns {Queries}
 */
export function readQueries(value) {
  const list = (/** @type {any} */ each) => (Array.isArray(each) ? each : []);
  const isText = (/** @type {any} */ each) => typeof each?.text === "string";
  return {
    saved: list(value?.saved).filter((each) => isText(each) && typeof each.name === "string"),
    history: list(value?.history).filter((each) => isText(each) && typeof each.at === "number"),
  };
}

/**
 * A query has run: it stands first, and once.
 * @param {Queries} queries
 * @param {string} text
 * @param {number} at
 * @returns {Queries}
 */
export function remember(queries, text, at) {
  const bare = text.trim();
  if (bare === "" || bare.length > TEXT_MAX) {
    return queries;
  }
  const others = queries.history.filter((each) => each.text !== bare);
  return { ...queries, history: [{ text: bare, at }, ...others].slice(0, HISTORY_MAX) };
}

/**
 * Save a query; one with the same name is replaced. Names are in their order.
 * @param {Queries} queries
 * @param {string} name
 * @param {string} text
 * @returns {Queries}
 */
export function save(queries, name, text) {
  const others = queries.saved.filter((each) => each.name !== name);
  const saved = [...others, { name, text: text.trim() }];
  saved.sort((a, b) => a.name.localeCompare(b.name));
  return { ...queries, saved };
}

/**
 * Return why a query cannot be saved so, null if it can.
 * @param {Queries} queries
 * @param {string} name
 * @param {string} text
 */
export function faultOfSaving(queries, name, text) {
  if (name === "") {
    return "Give it a name.";
  }
  if (name.length > 200) {
    return "A name has at most 200 characters.";
  }
  if (text.trim() === "") {
    return "There is no query to save.";
  }
  if (text.length > TEXT_MAX) {
    return `A query that is saved has at most ${TEXT_MAX} characters.`;
  }
  const isNew = !queries.saved.some((each) => each.name === name);
  return isNew && queries.saved.length >= SAVED_MAX ? `There are ${SAVED_MAX} already.` : null;
}

/**
 * @param {Queries} queries
 * @param {string} name
 * @returns {Queries}
 */
export function forget(queries, name) {
  return { ...queries, saved: queries.saved.filter((each) => each.name !== name) };
}
