/**
 * Proofs and checkpoints, verified in the browser: Merkle trees of RFC 9162, signed notes and
 * checkpoints of C2SP (docs/proofs.md, docs/verifying.md).
 *
 * Nothing is believed but what leads to a root, and of a root what a given key has signed. Signatures
 * with Ed25519 are verified; those with ML-DSA-44 are told as such, since browsers cannot verify them.
 */

/** What is not shown, in a sentence. */
export class ProofError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "ProofError";
  }
}

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

const HASH_SIZE = 32;
const TOO_LONG = "the proof has more hashes than trees of these sizes ask for";
const TOO_SHORT = "the proof has fewer hashes than trees of these sizes ask for";
const encoder = new TextEncoder();

/**
 * @param {...(Bytes | number[])} parts
 * @returns {Promise<Bytes>}
 */
async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

/** @param {...(Bytes | number[])} parts */
function joined(...parts) {
  const content = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    content.set(part, at);
    at += part.length;
  }
  return content;
}

/**
 * Return the hash of an event's leaf: that of its `hash`, as the API shows it.
 * @param {string} hash
 */
export function leafHash(hash) {
  return sha256([0], encoder.encode(hash));
}

/**
 * @param {Bytes} left
 * @param {Bytes} right
 */
function nodeHash(left, right) {
  return sha256([1], left, right);
}

/**
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 */
export function isSame(left, right) {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/**
 * Return what is written in base64; throws `ProofError` where it is not the one way to write it.
 * @param {string} text
 * @param {string} place
 * @returns {Bytes}
 */
export function bytesOf(text, place) {
  let binary;
  try {
    binary = atob(text);
  } catch {
    binary = null;
  }
  if (binary === null || btoa(binary) !== text) {
    throw new ProofError(`${place} is not base64`);
  }
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}

/** @param {Uint8Array} bytes */
export function base64Of(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** @param {Bytes[]} proof */
function checkHashes(proof) {
  if (proof.length > 64) {
    throw new ProofError(TOO_LONG);
  }
  if (proof.some((hash) => hash.length !== HASH_SIZE)) {
    throw new ProofError(`a hash of the proof does not have ${HASH_SIZE} bytes`);
  }
}

/**
 * Check that a leaf is in its place of a tree (RFC 9162, section 2.1.3.2); throws `ProofError`.
 * @param {bigint} index counted from 0
 * @param {bigint} size
 * @param {Bytes} leaf the leaf's hash
 * @param {Bytes[]} proof
 * @param {Bytes} root
 */
export async function checkInclusion(index, size, leaf, proof, root) {
  if (index < 0n || index >= size) {
    throw new ProofError(`place ${index} is not within a tree of ${size} events`);
  }
  checkHashes([leaf, ...proof]);
  let [first, last, found] = [index, size - 1n, leaf];
  for (const sibling of proof) {
    if (last === 0n) {
      throw new ProofError(TOO_LONG);
    }
    if (first & 1n || first === last) {
      found = await nodeHash(sibling, found);
      [first, last] = skipped(first, last);
    } else {
      found = await nodeHash(found, sibling);
    }
    [first, last] = [first >> 1n, last >> 1n];
  }
  if (last !== 0n) {
    throw new ProofError(TOO_SHORT);
  }
  if (!isSame(found, root)) {
    throw new ProofError("the proof leads to another root");
  }
}

/**
 * Go up to where a node has a sibling on its left.
 * @param {bigint} first
 * @param {bigint} last
 * @returns {[bigint, bigint]}
 */
function skipped(first, last) {
  let [up, end] = [first, last];
  while (!(up & 1n) && up !== 0n) {
    [up, end] = [up >> 1n, end >> 1n];
  }
  return [up, end];
}

/**
 * Check that a tree only grew into a larger one (RFC 9162, section 2.1.4.2); throws `ProofError`.
 * @param {bigint} size
 * @param {bigint} largerSize
 * @param {Bytes} root
 * @param {Bytes} largerRoot
 * @param {Bytes[]} proof
 */
export async function checkConsistency(size, largerSize, root, largerRoot, proof) {
  if (size > largerSize) {
    throw new ProofError(`a tree of ${size} events did not grow to ${largerSize}`);
  }
  if (size === largerSize) {
    if (proof.length > 0) {
      throw new ProofError(TOO_LONG);
    }
    if (!isSame(root, largerRoot)) {
      throw new ProofError(`there are two roots of the same ${size} events`);
    }
    return;
  }
  if (size === 0n) {
    throw new ProofError("an empty tree proves nothing about what followed");
  }
  checkHashes(proof);
  if (proof.length === 0) {
    throw new ProofError(TOO_SHORT);
  }
  // Of a tree that is perfect the proof leaves out the root, since the verifier has it.
  const isPerfect = (size & (size - 1n)) === 0n;
  const [found, larger] = await fold(size, largerSize, isPerfect ? [root, ...proof] : proof);
  if (!isSame(found, root)) {
    throw new ProofError(`the proof leads to another root of the first ${size} events`);
  }
  if (!isSame(larger, largerRoot)) {
    throw new ProofError(`the proof leads to another root of ${largerSize} events`);
  }
}

/**
 * @param {bigint} size
 * @param {bigint} largerSize
 * @param {Bytes[]} path
 */
async function fold(size, largerSize, path) {
  let [first, last] = [size - 1n, largerSize - 1n];
  while (first & 1n) {
    [first, last] = [first >> 1n, last >> 1n];
  }
  let [found, larger] = [path[0], path[0]];
  for (const sibling of path.slice(1)) {
    if (last === 0n) {
      throw new ProofError(TOO_LONG);
    }
    if (first & 1n || first === last) {
      found = await nodeHash(sibling, found);
      larger = await nodeHash(sibling, larger);
      [first, last] = skipped(first, last);
    } else {
      larger = await nodeHash(larger, sibling);
    }
    [first, last] = [first >> 1n, last >> 1n];
  }
  if (last !== 0n) {
    throw new ProofError(TOO_SHORT);
  }
  return [found, larger];
}

/** The root of events that come one after the other, in the memory of one path. */
export class GrowingRoot {
  constructor() {
    this.size = 0;
    /** @type {Bytes[]} the roots of the perfect trees so far, the largest first */
    this.peaks = [];
  }

  /** @param {string} hash that of the next event, as the API shows it */
  async add(hash) {
    let peak = await leafHash(hash);
    for (let completed = this.size; completed % 2 === 1; completed = (completed - 1) / 2) {
      peak = await nodeHash(/** @type {Bytes} */ (this.peaks.pop()), peak);
    }
    this.peaks.push(peak);
    this.size += 1;
  }

  async root() {
    const [last, ...rest] = this.peaks.toReversed();
    let root = last ?? (await sha256());
    for (const peak of rest) {
      root = await nodeHash(peak, root);
    }
    return root;
  }
}

const KEY_TYPES = new Map([
  [1, { label: "Ed25519", hasTime: false, keySize: 32, signatureSize: 64 }],
  [4, { label: "Ed25519", hasTime: true, keySize: 32, signatureSize: 64 }],
  [6, { label: "ML-DSA-44", hasTime: true, keySize: 1312, signatureSize: 2420 }],
]);

/**
 * A public key with the name of whom it belongs to.
 * @typedef {{name: string, id: string, type: number, label: string, bytes: Bytes}} VerifierKey
 */

/** @param {string} name */
function isName(name) {
  return name !== "" && !/[+\s]/u.test(name);
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Read a verifier key, `name+hash+base64`; throws `ProofError`.
 * @param {string} text
 * @returns {Promise<VerifierKey>}
 */
export async function readKey(text) {
  const [, name, id, encoded] = /^([^+]*)\+([0-9A-Fa-f]{8})\+(.+)$/s.exec(text) ?? [];
  if (encoded === undefined || !isName(name)) {
    const form = "a name, 8 hexadecimal digits and base64, with + between";
    throw new ProofError(`it is no verifier key: ${form}`);
  }
  const content = bytesOf(encoded, "its last part");
  const type = KEY_TYPES.get(content[0]);
  if (!type) {
    throw new ProofError(`its signature type is ${content[0]}; known are 1, 4 and 6`);
  }
  if (content.length - 1 !== type.keySize) {
    throw new ProofError(`its key has ${content.length - 1} bytes instead of ${type.keySize}`);
  }
  const digest = await sha256(encoder.encode(`${name}\n`), content);
  if (hex(digest.slice(0, 4)) !== id.toLowerCase()) {
    throw new ProofError("its parts do not belong together: the key has another ID");
  }
  return {
    name,
    id: id.toLowerCase(),
    type: content[0],
    label: type.label,
    bytes: content.slice(1),
  };
}

/**
 * One line below the text of a note.
 * @typedef {{name: string, id: string, content: Bytes}} NoteSignature
 * @typedef {object} Checkpoint
 * @property {string} text what is signed, with its last line feed
 * @property {string} origin
 * @property {bigint} size
 * @property {Bytes} root
 * @property {NoteSignature[]} signatures
 */

/**
 * Read a signed checkpoint; throws `ProofError` where it is none.
 * @param {string} note
 * @returns {Checkpoint}
 */
export function readCheckpoint(note) {
  const gap = note.lastIndexOf("\n\n");
  if (gap < 0 || !note.endsWith("\n")) {
    throw new ProofError("it is no signed note: a text, an empty line, and signatures");
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them
  if (/[\x00-\x09\x0b-\x1f]/.test(note)) {
    throw new ProofError("it has a control character");
  }
  const text = note.slice(0, gap + 1);
  const [origin, size, root, ...rest] = text.slice(0, -1).split("\n");
  if (root === undefined || [origin, ...rest].includes("")) {
    throw new ProofError("it is no checkpoint: origin, size and root, one a line");
  }
  if (!/^(?:0|[1-9][0-9]{0,18})$/.test(size)) {
    throw new ProofError("line 2 of the checkpoint is no size: decimal, without leading zeros");
  }
  const hash = bytesOf(root, "line 3 of the checkpoint");
  if (hash.length !== HASH_SIZE) {
    throw new ProofError(`line 3 of the checkpoint does not have ${HASH_SIZE} bytes`);
  }
  const lines = note.slice(gap + 2, -1).split("\n");
  if (lines.length > 100) {
    throw new ProofError("it has more than 100 signatures");
  }
  return { text, origin, size: BigInt(size), root: hash, signatures: lines.map(readSignature) };
}

/** @param {string} line */
function readSignature(line) {
  const [, name, encoded] = /^\u2014 (\S+) (\S+)$/u.exec(line) ?? [];
  const content = encoded === undefined ? null : bytesOf(encoded, "a signature");
  if (!content || !isName(name) || content.length <= 4) {
    throw new ProofError("a line is no signature: a dash, a key's name, and base64");
  }
  return { name, id: hex(content.slice(0, 4)), content: content.slice(4) };
}

/**
 * What is known of a signature without its key: its kind, by the length that each has, and the time
 * at which it was made, in seconds since 1970, where it says one.
 * @param {NoteSignature} signature
 * @param {string} origin
 * @returns {{label: string, isWitness: boolean, time: number | null}}
 */
export function describeSignature(signature, origin) {
  const size = signature.content.length;
  const isWitness = signature.name !== origin;
  if (size === 64) {
    return { label: "Ed25519", isWitness, time: null };
  }
  const label = size === 72 ? "Ed25519" : size === 2428 ? "ML-DSA-44" : "unknown";
  return { label, isWitness, time: label === "unknown" ? null : timeOf(signature.content) };
}

/** @param {Bytes} content */
function timeOf(content) {
  const time = new DataView(content.buffer, content.byteOffset).getBigUint64(0);
  return time === 0n || time > 1n << 40n ? null : Number(time);
}

/**
 * Verify what a key has signed of a checkpoint.
 *
 * "absent" where the key signed nothing, "unsupported" where this browser knows no such keys; throws
 * `ProofError` where a signature of the key does not verify.
 * @param {Checkpoint} checkpoint
 * @param {VerifierKey} key
 * @returns {Promise<"verified" | "absent" | "unsupported">}
 */
export async function verifySignature(checkpoint, key) {
  const lines = checkpoint.signatures.filter(({ name, id }) => name === key.name && id === key.id);
  if (lines.length === 0) {
    return "absent";
  }
  const type = KEY_TYPES.get(key.type);
  if (!type || key.type === 6) {
    return "unsupported";
  }
  const public_ = await ed25519Key(key.bytes);
  if (!public_) {
    return "unsupported";
  }
  for (const { content } of lines) {
    const signature = type.hasTime ? content.slice(8) : content;
    const time = type.hasTime ? new DataView(content.buffer).getBigUint64(0) : 0n;
    const prefix = type.hasTime ? `cosignature/v1\ntime ${time}\n` : "";
    const message = encoder.encode(prefix + checkpoint.text);
    if (!(await crypto.subtle.verify("Ed25519", public_, signature, message))) {
      throw new ProofError(`the signature of ${key.name}+${key.id} does not verify`);
    }
  }
  return "verified";
}

/** @param {Bytes} bytes */
async function ed25519Key(bytes) {
  try {
    return await crypto.subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") {
      return null;
    }
    throw error;
  }
}
