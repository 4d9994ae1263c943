// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  ChainCheck,
  ChainError,
  checkEvent,
  verifyChain,
} from "../../../src/everlog/ui/browser/model/chain.js";
import { memberText } from "../../../src/everlog/ui/browser/model/json-text.js";

/** The published vectors as the API shows events: those of a client have the hash beside. */
const VECTORS = readFileSync(new URL("../../fixtures/hash-vectors.ndjson", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => memberText(line, "payload"))
  .map((item) => `${memberText(item, "event").slice(0, -1)},"hash":${memberText(item, "hash")}}`);

async function* items(texts) {
  for (const text of texts) {
    yield { text };
  }
}

test("the published vectors are a chain", async () => {
  const check = await verifyChain(items(VECTORS), { check: new ChainCheck() });
  assert.equal(check.count, VECTORS.length);
  assert.equal(check.last.hash, JSON.parse(VECTORS.at(-1)).hash);
  assert.equal(check.countByVersion[1] + check.countByVersion[2], VECTORS.length);
});

test("an event of version 2 covers its tracing", async () => {
  const text =
    '{"specversion":"1.0","id":"7","time":"2026-11-23T12:00:00.5Z","source":"s","subject":"/a",' +
    '"type":"com.example.a","datacontenttype":"application/json","data":{"n":1.50},' +
    `"predecessorhash":"${"0".repeat(64)}","hash":"HASH","signature":null}`;
  const { createHash } = await import("node:crypto");
  const lines = ["esdb:hash:v2:", "1.0", "7", "0".repeat(64), "2026-11-23T12:00:00.5Z", "s", "/a"];
  const content = [...lines, "com.example.a", "application/json", "-", "-", '{"n":1.50}'].join(
    "\n",
  );
  const hash = `esdb:hash:v2:${createHash("sha256").update(content).digest("hex")}`;
  const link = await checkEvent(text.replace("HASH", hash));
  assert.equal(link.version, 2);
  assert.deepEqual(link.uncovered, []);
  const traced = text
    .replace("HASH", hash)
    .replace('"signature"', '"tracestate":"a=1","signature"');
  await assert.rejects(checkEvent(traced), ChainError);
});

const FORGERIES = {
  "its data": (text) => text.replace(/"data":\{[^}]*\}/, '"data":{"x":1}'),
  "its subject": (text) => text.replace('"subject":"/users', '"subject":"/user'),
  "a digit of its hash": (text) => text.replace(/"hash":"./, '"hash":"x'),
  "a member that no hash covers": (text) => text.replace('{"', '{"extra":1,"'),
  "a member twice": (text) => text.replace('{"', '{"id":"0","'),
  "space in its data": (text) => text.replace('"data":{', '"data":{ '),
};

for (const [name, forge] of Object.entries(FORGERIES)) {
  test(`an event is refused after a change of ${name}`, async () => {
    for (const text of VECTORS) {
      assert.notEqual(forge(text), text);
      await assert.rejects(checkEvent(forge(text)), ChainError);
    }
  });
}

test("an event that is missing is found, and whom it is about", async () => {
  const texts = [VECTORS[0], VECTORS[2]];
  const check = new ChainCheck();
  await assert.rejects(verifyChain(items(texts), { check }), (error) => {
    assert.ok(error instanceof ChainError);
    assert.equal(error.id, JSON.parse(VECTORS[2]).id);
    return true;
  });
  assert.equal(check.count, 1);
});

test("events of a selection are judged one by one", async () => {
  const check = new ChainCheck({ isGapless: false });
  await verifyChain(items([VECTORS[0], VECTORS[2]]), { check });
  assert.equal(check.count, 2);
});

test("between slices others have their turn, and it can be ended", async () => {
  const many = Array.from({ length: 2000 }, () => VECTORS[0]);
  const ended = new AbortController();
  const check = new ChainCheck({ isGapless: false });
  let slices = 0;
  const onProgress = () => {
    slices += 1;
    ended.abort();
  };
  const run = verifyChain(items(many), { check, onProgress, signal: ended.signal, sliceMs: 0 });
  await assert.rejects(run, { name: "AbortError" });
  assert.equal(slices, 1);
  assert.ok(check.count < many.length);
});
