/** Reading single events and their neighbours, as several pages do. */

import { ApiError, events } from "../api.js";
import { first } from "./answer.js";

/** @typedef {import("../api.js").EventItem} EventItem */

/**
 * Returns an event by its id, null where there is none.
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<EventItem | null>}
 */
export async function readEvent(id, signal) {
  if (!/^[0-9]{1,19}$/.test(id)) {
    throw new ApiError(`“${id.slice(0, 40)}” is no id of an event: ids are numbers from 0 on.`);
  }
  /** @type {import("../api.js").Bound} */
  const bound = { id, type: "inclusive" };
  const selection = { subject: "/", recursive: true, lowerBound: bound, upperBound: bound };
  const [found] = await first(events(selection, { signal }), 1);
  return found ?? null;
}

/**
 * Returns the selection of the event before or behind another one on its subject.
 * @param {EventItem} event
 * @param {"before" | "behind"} side
 * @returns {import("../api.js").Selection | null}
 */
export function besideOnSubject({ id, subject }, side) {
  if (side === "before") {
    return id === "0"
      ? null
      : { subject, order: "antichronological", upperBound: { id, type: "exclusive" } };
  }
  return { subject, order: "chronological", lowerBound: { id, type: "exclusive" } };
}

/**
 * Returns the event before or behind another one on its subject, null where there is none.
 * @param {EventItem} event
 * @param {"before" | "behind"} side
 * @param {AbortSignal} signal
 * @returns {Promise<EventItem | null>}
 */
export async function readBeside(event, side, signal) {
  const selection = besideOnSubject(event, side);
  const [found] = selection === null ? [] : await first(events(selection, { signal }), 1);
  return found ?? null;
}

/**
 * Returns the trace that a traceparent names, null for none.
 * @param {string | undefined | null} traceparent
 */
export function traceIn(traceparent) {
  return (
    /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}/.exec(traceparent ?? "")?.[1] ?? null
  );
}
