/**
 * The server's API, version 2, as pages use it.
 *
 * Every request carries the token of the session in its header; a server that refuses the token
 * ends the session. Whatever goes wrong is an `ApiError` with a sentence for a person.
 */

import { memberText } from "./model/json-text.js";
import { bearer, credentials } from "./session.js";

/**
 * What a stream consists of. `text` is the payload exactly as it came.
 * @typedef {{type: string, payload: any, text: string}} Item
 */

/**
 * An event: `raw` is its data exactly as it is stored, `text` the whole event as it came. `data` is
 * what `JSON.parse` makes of it, whose numbers may have lost digits: show `raw` instead.
 * @typedef {{id: string, time: string, source: string, subject: string, type: string,
 *   specversion: string, datacontenttype: string, data: any, predecessorhash: string, hash: string,
 *   signature: string | null, traceparent?: string, tracestate?: string, raw: string,
 *   text: string}} EventItem
 */

/** @typedef {{id: string, type: "inclusive" | "exclusive"}} Bound */

/**
 * Which events; the names are those of the API.
 * @typedef {{subject: string, recursive?: boolean, order?: "chronological" | "antichronological",
 *   lowerBound?: Bound, upperBound?: Bound,
 *   fromLatestEvent?: {subject: string, type: string, ifEventIsMissing: string},
 *   types?: string[]}} Selection
 */

/** Where the pages are, and the API beside them. */
export const ROOT = new URL("./", document.baseURI);

const DATA = "api/v2/data";
const CODES = "https://docs.eventsourcingdb.io/errors/";

// An observer gets a heartbeat each second: whoever is silent for so long is gone.
const SILENCE_MS = 15_000;
const RETRY_FIRST_MS = 500;
const RETRY_LAST_MS = 15_000;

/** What went wrong, in the words of the server where it said something. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, details?: any, text?: string,
   *   retryAfter?: number}} [more] `status` is 0 where there was no answer.
   */
  constructor(message, { status = 0, code, details = {}, text = "", retryAfter } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
    this.text = text;
    this.retryAfter = retryAfter;
  }
}

/**
 * Sends a request and returns its answer, whatever its status is.
 * @param {string} method
 * @param {string} path Relative to the pages, such as `api/v2/system/health`.
 * @param {any} [body] What becomes JSON; a string is sent as it is.
 * @param {{signal?: AbortSignal, token?: string, accept?: number[], isOpen?: boolean}} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError} With `token`, it carries this one instead; `isOpen` ones carry none.
 */
export async function request(
  method,
  path,
  body,
  { signal, token, accept = [], isOpen = false } = {},
) {
  const session = credentials();
  const isOwn = token === undefined && !isOpen;
  const signals = [...(isOwn ? [session.signal] : []), ...(signal === undefined ? [] : [signal])];
  let response;
  try {
    response = await fetch(new URL(path, ROOT), {
      method,
      headers: isOwn ? session.headers : token === undefined ? {} : bearer(token),
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.any(signals),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    throw failure(error);
  }
  if (response.ok || accept.includes(response.status)) {
    return response;
  }
  if (response.status === 401 && isOwn) {
    session.refused();
  }
  throw await refusal(response);
}

/**
 * Sends a request and returns what the JSON of its answer says.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {{signal?: AbortSignal, token?: string, accept?: number[], isOpen?: boolean}} [options]
 * @returns {Promise<any>}
 */
export async function json(method, path, body, options) {
  const response = await request(method, path, body, options);
  const text = await read(response);
  const value = parse(text);
  if (value?.type === "error" && value.data?.code !== undefined) {
    throw errorOf(value.data);
  }
  return value;
}

/**
 * Sends a request and returns its answer as text.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {{signal?: AbortSignal}} [options]
 */
export async function text(method, path, body, options) {
  return await read(await request(method, path, body, options));
}

/**
 * Sends a request and returns the items of its answer as they come, heartbeats left out.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {{signal?: AbortSignal, onLine?: () => void}} [options]
 * @returns {AsyncGenerator<Item, void, void>}
 * @throws {ApiError} The server refused, or the answer ended before its end.
 */
export async function* stream(method, path, body, { signal, onLine } = {}) {
  const response = await request(method, path, body, { signal });
  for await (const line of lines(response)) {
    onLine?.();
    const value = parse(line);
    if (value.type === "end") {
      return;
    }
    if (value.type === "error") {
      throw errorOf(value.data);
    }
    if (value.type !== "heartbeat") {
      yield { type: value.type, payload: value.data, text: memberText(line, "data") ?? "" };
    }
  }
  throw new ApiError("The answer ended before it was complete.");
}

/**
 * Returns the events of a selection.
 * @param {Selection} selection
 * @param {{signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<EventItem, void, void>}
 */
export async function* events(selection, options) {
  const body = bodyOf(selection);
  yield* chosen(stream("QUERY", `${DATA}/read-events`, body, options), selection);
}

/**
 * Returns the events of a selection, and those that come; it ends when the signal says so.
 *
 * When the connection breaks it is made anew behind the last event, so that there is neither a gap
 * nor a duplicate; `onState` is told. What the server refuses is an `ApiError`.
 * @param {Selection} selection
 * @param {{signal: AbortSignal, onState?: (state: "open" | "waiting") => void}} options
 * @returns {AsyncGenerator<EventItem, void, void>}
 */
export async function* observe(selection, { signal, onState = () => {} }) {
  let current = selection;
  let delay = RETRY_FIRST_MS;
  while (!signal.aborted) {
    try {
      for await (const event of chosen(observeOnce(current, signal, onState), current)) {
        delay = RETRY_FIRST_MS;
        current = { ...current, lowerBound: { id: event.id, type: "exclusive" } };
        delete current.fromLatestEvent;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (!(error instanceof ApiError) || !isPassing(error)) {
        throw error;
      }
    }
    onState("waiting");
    await pause(delay, signal);
    delay = Math.min(2 * delay, RETRY_LAST_MS);
  }
}

/**
 * Returns the rows of an EventQL query; `raw` is the row exactly as it came.
 * @param {string} query
 * @param {{signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<{row: any, raw: string}, void, void>}
 */
export async function* query(query, options) {
  const body = { query };
  for await (const item of stream("QUERY", `${DATA}/run-eventql-query`, body, options)) {
    // What a row is stands under `value`, so that a row that is no record can be one, too.
    yield { row: item.payload.value, raw: memberText(item.text, "value") ?? "null" };
  }
}

/**
 * Returns the body that asks for a selection, as read-events takes it.
 * @param {Selection} selection
 */
export function bodyOf(selection) {
  const { subject, ...asked } = selection;
  const given = Object.entries(asked);
  const options = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  return Object.keys(options).length === 0 ? { subject } : { subject, options };
}

/**
 * @param {Selection} selection
 * @param {AbortSignal} signal
 * @param {(state: "open" | "waiting") => void} onState
 */
async function* observeOnce(selection, signal, onState) {
  const silence = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const onLine = () => {
    if (timer === undefined) {
      onState("open");
    }
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  try {
    const both = AbortSignal.any([signal, silence.signal]);
    // An observer gets all types, and leaves out what is not asked for.
    const { types, ...observed } = selection;
    const body = bodyOf(observed);
    yield* stream("QUERY", `${DATA}/observe-events`, body, { signal: both, onLine });
  } catch (error) {
    throw silence.signal.aborted ? new ApiError("The server fell silent.") : error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {AsyncGenerator<Item, void, void>} items
 * @param {Selection} selection
 * @returns {AsyncGenerator<EventItem, void, void>}
 */
async function* chosen(items, { types = [] }) {
  for await (const { payload, text } of items) {
    if (types.length === 0 || types.includes(payload.type)) {
      yield { ...payload, raw: memberText(text, "data") ?? "null", text };
    }
  }
}

/**
 * Returns the event that an item's payload is, for pages that read it from elsewhere.
 * @param {string} text
 * @returns {EventItem}
 */
export function eventOf(text) {
  return { ...JSON.parse(text), raw: memberText(text, "data") ?? "null", text };
}

/** @param {ApiError} error */
function isPassing({ status, code }) {
  const codes = ["server-shutting-down", "restore-in-progress", "read-failed"];
  return code === undefined
    ? status === 0 || status === 503 || status === 502
    : codes.includes(code);
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", end, { once: true });
  });
}

/**
 * @param {Response} response
 * @returns {AsyncGenerator<string, void, void>}
 */
async function* lines(response) {
  if (response.body === null) {
    return;
  }
  const reader = response.body.getReader();
  // A mark at the beginning is a letter like any other: what is stored is shown.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  // The pieces of a line whose end has not come yet; a line may be as large as an event may be.
  /** @type {string[]} */
  let pieces = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const chunk = done ? `${decoder.decode()}\n` : decoder.decode(value, { stream: true });
      const parts = chunk.split("\n");
      for (const part of parts.slice(0, -1)) {
        const line = pieces.length === 0 ? part : pieces.join("") + part;
        pieces = [];
        if (line.trim() !== "") {
          yield line;
        }
      }
      pieces.push(parts[parts.length - 1]);
      if (done) {
        return;
      }
    }
  } catch (error) {
    throw error instanceof ApiError ? error : failure(error);
  } finally {
    // Whoever has seen enough stops the server's work too.
    reader.cancel().catch(() => {});
  }
}

/** @param {Response} response */
async function read(response) {
  try {
    return await response.text();
  } catch (error) {
    throw failure(error);
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError("The server's answer is not JSON.", { text: text.slice(0, 1000) });
  }
}

/** @param {any} data */
function errorOf(data) {
  const code = String(data.code ?? "").replace(CODES, "");
  const text = String(data.description ?? "");
  return new ApiError(sentence(text), { status: 200, code, details: data.details, text });
}

/** @param {Response} response */
async function refusal(response) {
  const { status } = response;
  const text = (await response.text().catch(() => "")).trim();
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  const isPlain = (response.headers.get("Content-Type") ?? "").startsWith("text/plain");
  const said = isPlain && text !== "" ? text.slice(0, 1000) : `status ${status}`;
  return new ApiError(sentence(said), { status, text, retryAfter });
}

/** @param {unknown} error */
function failure(error) {
  if (error instanceof DOMException && error.name === "AbortError") {
    return error;
  }
  return new ApiError("The server cannot be reached.", { text: String(error) });
}

/** @param {string} text */
function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
