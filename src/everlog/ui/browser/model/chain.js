/**
 * The hash chain, verified in the browser (docs/hashes.md): the hash of each event covers what it
 * says and the hash of the event before it.
 *
 * It takes events as the very text that the server sent, since a hash covers the bytes of `data` as
 * they stand there. Hashes are computed by WebCrypto, which browsers have on HTTPS and on localhost.
 * What is left to others: where events come from, and what is shown of it.
 */

import { eachMember } from "./json-text.js";

const V2_PREFIX = "esdb:hash:v2:";
const GENESIS = "0".repeat(64);
// Both versions cover these, in this order.
const METADATA = "specversion id predecessorhash time source subject type datacontenttype".split(
  " ",
);
const MEMBERS = new Set([...METADATA, "traceparent", "tracestate", "data", "hash", "signature"]);

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** What the chain does not show: where, and why. */
export class ChainError extends Error {
  /**
   * @param {string} message
   * @param {string} [id] the event to blame
   */
  constructor(message, id) {
    super(message);
    this.name = "ChainError";
    this.id = id;
  }
}

/** Tell whether this page may compute hashes. */
export function canHash() {
  return globalThis.crypto?.subtle !== undefined;
}

const encoder = new TextEncoder();

/** @param {string | Bytes} content */
async function sha256(content) {
  const bytes = typeof content === "string" ? encoder.encode(content) : content;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** @param {Uint8Array} bytes */
export function hexOf(bytes) {
  let text = "";
  for (const byte of bytes) {
    text += DIGITS[byte];
  }
  return text;
}

/** @param {string} text */
async function digest(text) {
  return hexOf(await sha256(text));
}

/**
 * Return the texts of the members of a JSON object, by their names: numbers keep all their digits.
 * Throws `ChainError` where a name comes twice.
 * @param {string} text JSON
 * @returns {Map<string, string>}
 */
function membersOf(text) {
  const members = new Map();
  eachMember(text, (name, start, end) => {
    if (members.has(name)) {
      throw new ChainError(`the member '${name}' is there twice`);
    }
    members.set(name, text.slice(start, end));
  });
  return members;
}

/**
 * What is known of an event whose content has the hash that it says.
 * @typedef {object} Link
 * @property {string} id
 * @property {string} hash
 * @property {string} predecessor
 * @property {1 | 2} version
 * @property {string[]} uncovered members that are there and that the hash does not cover
 */

/**
 * Check one event: its content must have the hash that it says.
 * @param {string} raw the text of the event, as the server sent it
 * @returns {Promise<Link>}
 */
export async function checkEvent(raw) {
  const members = membersOf(raw);
  const text = (/** @type {string} */ name) => textOf(members, name);
  const id = text("id");
  const unknown = [...members.keys()].find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) {
    throw new ChainError(`the event has the member '${unknown}', which no hash covers`, id);
  }
  const hash = text("hash");
  const version = hash.startsWith(V2_PREFIX) ? 2 : 1;
  const separator = version === 2 ? "\n" : "|";
  const fields = METADATA.map(text);
  const odd = METADATA.find((_, index) => hasSeparator(fields[index], separator));
  if (odd !== undefined) {
    throw new ChainError(`the member '${odd}' has a character that no event has there`, id);
  }
  const data = members.get("data") ?? "";
  const traces = [traceOf(members, "traceparent"), traceOf(members, "tracestate")];
  const found =
    version === 2
      ? V2_PREFIX + (await digest([V2_PREFIX, ...fields, ...traces, data].join("\n")))
      : await digest((await digest(fields.join("|"))) + (await digest(data)));
  if (found !== hash) {
    throw new ChainError(`the content of event ${id} does not have the hash that it says`, id);
  }
  const names = version === 2 ? ["signature"] : ["traceparent", "tracestate", "signature"];
  const uncovered = names.filter((name) => traceOf(members, name) !== "-");
  return { id, hash, predecessor: text("predecessorhash"), version, uncovered };
}

/**
 * @param {string} text
 * @param {string} separator
 */
function hasSeparator(text, separator) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them
  return text.includes(separator) || /[\x00-\x1f]/.test(text);
}

/**
 * @param {Map<string, string>} members
 * @param {string} name
 */
function textOf(members, name) {
  const text = members.get(name);
  if (!text?.startsWith('"')) {
    throw new ChainError(`the event has no text '${name}'`);
  }
  return /** @type {string} */ (JSON.parse(text));
}

/**
 * Return a member that may be missing as a hash has it.
 * @param {Map<string, string>} members
 * @param {string} name
 */
function traceOf(members, name) {
  const text = members.get(name);
  return text === undefined || text === "null" ? "-" : textOf(members, name);
}

/**
 * The chain of neighbouring events in their order, checked one after the other.
 *
 * Where events are only those of a subject or a type, `isGapless` is false: each content has its
 * hash then, but nothing links them.
 */
export class ChainCheck {
  /** @param {{isGapless?: boolean}} [options] */
  constructor({ isGapless = true } = {}) {
    this.isGapless = isGapless;
    this.count = 0;
    this.countByVersion = { 1: 0, 2: 0 };
    /** @type {Link | null} */
    this.first = null;
    /** @type {Link | null} */
    this.last = null;
    /** @type {Set<string>} */
    this.uncovered = new Set();
  }

  /**
   * Take the next event; throws `ChainError` where it does not continue what came before.
   * @param {string} raw
   */
  async add(raw) {
    const link = await checkEvent(raw);
    if (this.isGapless && this.last) {
      this.continue(this.last, link);
    }
    if (link.id === "0" && link.predecessor !== GENESIS) {
      throw new ChainError("the first event of the log names an event before it", link.id);
    }
    this.first ??= link;
    this.last = link;
    this.count += 1;
    this.countByVersion[link.version] += 1;
    for (const name of link.uncovered) {
      this.uncovered.add(name);
    }
    return link;
  }

  /**
   * @param {Link} before
   * @param {Link} link
   */
  continue(before, link) {
    if (BigInt(link.id) !== BigInt(before.id) + 1n) {
      throw new ChainError(`event ${before.id} is followed by event ${link.id}`, link.id);
    }
    if (link.predecessor !== before.hash) {
      const message = `event ${link.id} does not name the hash of event ${before.id} before it`;
      throw new ChainError(message, link.id);
    }
  }
}

/**
 * Check events as they come, in slices: between two of them the page may draw and hear.
 *
 * Returns what was found; throws `ChainError`, or what the source throws.
 * @param {AsyncIterable<{text: string}>} events
 * @param {{check: ChainCheck, onLink?: (link: Link) => void | Promise<void>,
 *   onProgress?: (check: ChainCheck) => void, signal?: AbortSignal, sliceMs?: number}} options
 */
export async function verifyChain(events, { check, onLink, onProgress, signal, sliceMs = 20 }) {
  let sliceStart = performance.now();
  for await (const { text } of events) {
    const link = await check.add(text);
    await onLink?.(link);
    if (performance.now() - sliceStart > sliceMs) {
      onProgress?.(check);
      await new Promise((resolve) => setTimeout(resolve, 0));
      sliceStart = performance.now();
    }
    signal?.throwIfAborted();
  }
  onProgress?.(check);
  return check;
}
