/**
 * Drafts of what a person may write: the schema of an event type from its events, the body of a
 * write from what a form has, and which field of a form an answer of the API is about.
 */

import { memberText } from "./json-text.js";

/**
 * Return a draft of a JSON Schema that all given values match: types of members, and those that
 * each of them has as required.
 * @param {any[]} values
 * @returns {any}
 */
export function draftSchema(values) {
  return { type: "object", ...objectSchema(values.filter(isObject)) };
}

/** @param {any} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {any[]} objects */
function objectSchema(objects) {
  const names = [...new Set(objects.flatMap((each) => Object.keys(each)))];
  const entries = names.map((name) => {
    const there = objects.filter((each) => Object.hasOwn(each, name)).map((each) => each[name]);
    return [name, valueSchema(there)];
  });
  const required = names.filter((name) => objects.every((each) => Object.hasOwn(each, name)));
  const properties = Object.fromEntries(entries);
  return required.length > 0 ? { properties, required } : { properties };
}

/**
 * @param {any[]} values
 * @returns {any}
 */
function valueSchema(values) {
  const types = new Set(values.map(typeOf));
  if (types.has("number")) {
    types.delete("integer");
  }
  const names = [...types].sort();
  const schema = { type: names.length === 1 ? names[0] : names };
  const objects = values.filter(isObject);
  const items = values.filter(Array.isArray).flat();
  return {
    ...schema,
    ...(objects.length > 0 ? objectSchema(objects) : {}),
    ...(items.length > 0 ? { items: valueSchema(items) } : {}),
  };
}

/** @param {any} value */
function typeOf(value) {
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "array";
  }
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** The kinds of preconditions, as the API names them, with the fields that each one has. */
export const PRECONDITIONS = /** @type {const} */ ([
  { type: "isSubjectPristine", label: "Subject is pristine", fields: ["subject", "recursive"] },
  { type: "isSubjectPopulated", label: "Subject is populated", fields: ["subject", "recursive"] },
  {
    type: "isSubjectOnEventId",
    label: "Subject is on event",
    fields: ["subject", "eventId", "recursive"],
  },
  { type: "isEventQlQueryTrue", label: "EventQL query is true", fields: ["query"] },
]);

/**
 * What a form has; all of it is as it was typed.
 * @typedef {{type: string, subject: string, eventId: string, query: string, recursive: boolean}}
 *   Precondition
 * @typedef {{source: string, subject: string, type: string, data: string, traceparent: string,
 *   tracestate: string, preconditions: Precondition[]}} Draft
 */

/** @returns {Precondition} */
export function newPrecondition(subject = "") {
  return { type: "isSubjectPristine", subject, eventId: "", query: "", recursive: false };
}

/**
 * Return a draft that is like an event; without one, an empty one.
 * @param {{source: string, subject: string, type: string} | null} event
 * @param {string} data the text of its data
 * @returns {Draft}
 */
export function draftLike(event, data) {
  const { source = "", subject = "", type = "" } = event ?? {};
  return { source, subject, type, data, traceparent: "", tracestate: "", preconditions: [] };
}

/**
 * Return the body of the write. Data goes into it as it was typed: numbers keep their digits.
 * @param {Draft} draft
 */
export function bodyOf(draft) {
  const { source, subject, type, traceparent, tracestate } = draft;
  const named = Object.entries({ source, subject, type, traceparent, tracestate });
  const members = named.filter(([name, value]) => value !== "" || !name.startsWith("trace"));
  const event = JSON.stringify(Object.fromEntries(members));
  const data = draft.data.trim() === "" ? "" : `,"data":${draft.data.trim()}`;
  const preconditions = draft.preconditions.map(preconditionBody);
  const more = preconditions.length > 0 ? `,"preconditions":${JSON.stringify(preconditions)}` : "";
  return `{"events":[${event.slice(0, -1)}${data}}]${more}}`;
}

/** @param {Precondition} precondition */
function preconditionBody({ type, subject, eventId, query, recursive }) {
  const fields = PRECONDITIONS.find((each) => each.type === type)?.fields ?? [];
  const has = (/** @type {any} */ name) => /** @type {readonly string[]} */ (fields).includes(name);
  const payload = {
    ...(has("subject") ? { subject } : {}),
    ...(has("eventId") ? { eventId } : {}),
    ...(has("query") ? { query } : {}),
    ...(has("recursive") && recursive ? { options: { recursive: true } } : {}),
  };
  return { type, payload };
}

/**
 * Return what is wrong with data as JSON, null if nothing is; what else it must be the server says.
 * @param {string} text
 */
export function faultOfData(text) {
  if (text.trim() === "") {
    return "Data is missing: a JSON object, such as {}.";
  }
  try {
    const isRight = isObject(JSON.parse(text));
    return isRight ? null : "Data is a JSON object.";
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : error}`;
  }
}

const FIELDS = /(?:^|[.\]])(source|subject|type|data|traceparent|tracestate)\b/;
const CODES = /** @type {Record<string, string>} */ ({
  "event-schema-violated": "data",
  "event-too-large": "data",
});

/**
 * Return which field of the form a refusal is about: `data`, or `0.subject` of a precondition; null
 * where it is about none.
 * @param {{code?: string, details?: any}} error
 */
export function fieldOf({ code = "", details = {} }) {
  const index = details?.preconditionIndex ?? details?.precondition;
  const path = String(details?.field ?? "");
  if (index !== undefined) {
    const name = /(subject|eventId|query|type)$/.exec(path)?.[1] ?? "";
    return name === ""
      ? `${index}.${code.startsWith("query") ? "query" : "type"}`
      : `${index}.${name}`;
  }
  if (Object.hasOwn(CODES, code)) {
    return CODES[code];
  }
  const named =
    FIELDS.exec(path)?.[1] ??
    /^(?:event-)?(source|subject|type|data|traceparent|tracestate)-/.exec(code)?.[1];
  return named ?? null;
}

/**
 * Return the text of the data of an event with line breaks; as it is where it is no JSON.
 * @param {string} event
 */
export function dataOf(event) {
  return memberText(event, "data") ?? "{}";
}
