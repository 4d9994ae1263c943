/**
 * What the store has that an editor or a form can offer: event types, subjects, and the fields that
 * events have. It is asked for when somebody needs it, kept for a moment, and bounded.
 */

import * as api from "./api.js";
import { complete, fieldsOf, typesIn } from "./model/completion.js";

const KEPT_MS = 30_000;
const TYPES_MAX = 5_000;
const SUBJECTS_MAX = 50;
const EXAMPLES = 100;

/** @typedef {{type: string, hasEvents: boolean, schema?: any, text: string}} EventType */

/** @type {Map<string, {at: number, value: Promise<any>}>} */
const kept = new Map();

/**
 * @template T
 * @param {string} key
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
function remembered(key, ask) {
  const found = kept.get(key);
  if (found !== undefined && Date.now() - found.at < KEPT_MS) {
    return found.value;
  }
  const value = ask();
  kept.set(key, { at: Date.now(), value });
  value.catch(() => kept.delete(key));
  if (kept.size > 200) {
    kept.delete(kept.keys().next().value ?? "");
  }
  return value;
}

/** Forget what is known: something was written. */
export function forgetKnown() {
  kept.clear();
}

/**
 * Return event types, sorted by name, so many at most; `text` is each as it came.
 * @returns {Promise<EventType[]>}
 */
export function eventTypes() {
  return remembered("types", async () => {
    const found = [];
    for await (const { payload, text } of api.stream("QUERY", "api/v2/data/read-event-types")) {
      found.push({ ...payload, text });
      if (found.length === TYPES_MAX) {
        break;
      }
    }
    return found;
  });
}

/**
 * Return subjects that begin like a text: those directly below its last slash.
 * @param {string} text
 * @returns {Promise<string[]>}
 */
export function subjectsLike(text) {
  const slash = text.lastIndexOf("/");
  const subject = slash > 0 ? text.slice(0, slash) : "/";
  const prefix = slash < 0 ? text : text.slice(slash + 1);
  return remembered(`subjects ${subject} ${prefix}`, async () => {
    const options = { prefix, limit: SUBJECTS_MAX };
    const found = await api.json("QUERY", "api/v2/data/read-child-subjects", { subject, options });
    return found.children.map((/** @type {{subject: string}} */ each) => each.subject);
  });
}

/**
 * Return the paths of fields that the latest events have, of some types or of all.
 * @param {string[]} types
 */
export function fieldsSeen(types) {
  return remembered(`fields ${types.join(" ")}`, async () => {
    const values = [];
    const order = /** @type {const} */ ("antichronological");
    const chosen = types.slice(0, 20);
    const selection = {
      subject: "/",
      recursive: true,
      order,
      ...(chosen.length ? { types: chosen } : {}),
    };
    for await (const event of api.events(selection)) {
      values.push(event.data);
      if (values.length === EXAMPLES) {
        break;
      }
    }
    return fieldsOf(values);
  });
}

/**
 * Return what is offered at a place in a query, with what the store has.
 * @param {string} text
 * @param {number} at
 * @param {boolean} isAsked
 * @param {AbortSignal} signal
 */
export async function offerAt(text, at, isAsked, signal) {
  const nothing = { types: [], subjects: [], fields: [] };
  const first = complete(text, at, nothing, isAsked);
  if (first === null || first.wants === null) {
    return first;
  }
  try {
    const typed = text.slice(first.from, at);
    const types = first.wants === "type" ? (await eventTypes()).map(({ type }) => type) : [];
    const subjects = first.wants === "subject" ? await subjectsLike(typed || "/") : [];
    const fields = first.wants === "field" ? await fieldsSeen(typesIn(text)) : [];
    return signal.aborted ? null : complete(text, at, { types, subjects, fields }, isAsked);
  } catch {
    // What could not be asked is not offered; whoever runs the query is told what is wrong.
    return first;
  }
}
