// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  base64Of,
  bytesOf,
  checkConsistency,
  checkInclusion,
  describeSignature,
  GrowingRoot,
  leafHash,
  ProofError,
  readCheckpoint,
  readKey,
  verifySignature,
} from "../../../src/everlog/ui/browser/model/merkle.js";

const VECTORS = readFileSync(
  new URL("../../fixtures/merkle-vectors.ndjson", import.meta.url),
  "utf8",
)
  .trim()
  .split("\n")
  .slice(1)
  // Sizes may be larger than a double holds.
  .map((line) => line.replace(/("(?:index|size1?|size2)":)(\d+)/g, '$1"$2"'))
  .map((line) => JSON.parse(line));

async function check(vector) {
  const bytes = (text) => bytesOf(text, "it");
  const proof = (vector.proof ?? []).map(bytes);
  if (vector.kind === "inclusion") {
    const { index, size, leafHash: leaf, root } = vector;
    await checkInclusion(BigInt(index), BigInt(size), bytes(leaf), proof, bytes(root));
  } else {
    const { size1, size2, root1, root2 } = vector;
    await checkConsistency(BigInt(size1), BigInt(size2), bytes(root1), bytes(root2), proof);
  }
}

test("the published vectors are judged as they say", async () => {
  assert.ok(VECTORS.length > 190);
  for (const vector of VECTORS) {
    if (vector.wantErr) {
      await assert.rejects(check(vector), ProofError, vector.name);
    } else {
      await assert.doesNotReject(check(vector), vector.name);
    }
  }
});

/** The root by its definition (RFC 9162, section 2.1.1). */
function rootOf(leaves) {
  const sha = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
  if (leaves.length === 0) {
    return sha();
  }
  if (leaves.length === 1) {
    return sha(Buffer.from([0]), Buffer.from(leaves[0]));
  }
  const half = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return sha(Buffer.from([1]), rootOf(leaves.slice(0, half)), rootOf(leaves.slice(half)));
}

test("a root that grows is that of the definition", async () => {
  const leaves = Array.from({ length: 70 }, (_, each) => `hash ${each}`);
  const growing = new GrowingRoot();
  for (let size = 0; size <= leaves.length; size++) {
    assert.equal(base64Of(await growing.root()), rootOf(leaves.slice(0, size)).toString("base64"));
    if (size < leaves.length) {
      await growing.add(leaves[size]);
    }
  }
  assert.equal(base64Of(await leafHash("hash 0")), rootOf(["hash 0"]).toString("base64"));
});

/** A signer as C2SP has it: what it signs, and its verifier key. */
function signer(name, type) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const content = Buffer.concat([Buffer.from([type]), raw]);
  const id = createHash("sha256").update(`${name}\n`).update(content).digest().subarray(0, 4);
  const line = (text, time) => {
    const stamp = Buffer.alloc(8);
    stamp.writeBigUInt64BE(BigInt(time ?? 0));
    const message = type === 1 ? text : `cosignature/v1\ntime ${time}\n${text}`;
    const signature = sign(null, Buffer.from(message), privateKey);
    const body = Buffer.concat([id, ...(type === 1 ? [] : [stamp]), signature]);
    return `\u2014 ${name} ${body.toString("base64")}\n`;
  };
  return { line, key: `${name}+${id.toString("hex")}+${content.toString("base64")}` };
}

const TEXT = `log.example.com/orders\n3\n${rootOf(["a", "b", "c"]).toString("base64")}\n`;
const LOG = signer("log.example.com/orders", 1);
const WITNESS = signer("witness.example.com/w1", 4);
const NOTE = `${TEXT}\n${LOG.line(TEXT)}${WITNESS.line(TEXT, 1_700_000_000)}`;

test("a checkpoint says what it is of, and who signed it when", () => {
  const checkpoint = readCheckpoint(NOTE);
  assert.equal(checkpoint.origin, "log.example.com/orders");
  assert.equal(checkpoint.size, 3n);
  const told = checkpoint.signatures.map((each) => describeSignature(each, checkpoint.origin));
  assert.deepEqual(told, [
    { label: "Ed25519", isWitness: false, time: null },
    { label: "Ed25519", isWitness: true, time: 1_700_000_000 },
  ]);
});

test("signatures of log and witness are verified by their keys", async () => {
  const checkpoint = readCheckpoint(NOTE);
  assert.equal(await verifySignature(checkpoint, await readKey(LOG.key)), "verified");
  assert.equal(await verifySignature(checkpoint, await readKey(WITNESS.key)), "verified");
  const stranger = await readKey(signer("log.example.com/orders", 1).key);
  assert.equal(await verifySignature(checkpoint, stranger), "absent");
});

test("a note that was changed is refused", async () => {
  const changed = readCheckpoint(NOTE.replace("\n3\n", "\n4\n"));
  for (const { key } of [LOG, WITNESS]) {
    await assert.rejects(verifySignature(changed, await readKey(key)), ProofError);
  }
});

const NO_NOTES = {
  "no signature": TEXT,
  "no end": NOTE.slice(0, -1),
  "no root": NOTE.replace(/\n3\n.*\n/, "\n3\n"),
  "a size with zeros": NOTE.replace("\n3\n", "\n03\n"),
  "a root that is too short": NOTE.replace(/\n3\n.*\n/, "\n3\nAAAA\n"),
  "no dash": NOTE.replace("\u2014", "-"),
  "a control character": NOTE.replace("orders\n", "orders\r\n"),
};

for (const [name, note] of Object.entries(NO_NOTES)) {
  test(`it is no checkpoint with ${name}`, () => {
    assert.throws(() => readCheckpoint(note), ProofError);
  });
}

for (const [name, text] of Object.entries({
  "another ID": LOG.key.replace(/\+[0-9a-f]{8}\+/, "+00000000+"),
  "no parts": "log.example.com/orders",
  "no base64": LOG.key.replace(/[A-Z0-9a-z+/]+=*$/, "!"),
  "another name": `x${LOG.key}`,
})) {
  test(`it is no key with ${name}`, async () => {
    await assert.rejects(readKey(text), ProofError);
  });
}
