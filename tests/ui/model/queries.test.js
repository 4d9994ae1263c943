// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  faultOfSaving,
  forget,
  HISTORY_MAX,
  NONE,
  readQueries,
  remember,
  SAVED_MAX,
  save,
} from "../../../src/everlog/ui/browser/model/queries.js";

test("what ran stands first, once, and the oldest are forgotten", () => {
  let queries = remember(remember(remember(NONE, "a", 1), "b", 2), " a ", 3);
  assert.deepEqual(queries.history, [
    { text: "a", at: 3 },
    { text: "b", at: 2 },
  ]);
  for (let at = 0; at < 2 * HISTORY_MAX; at++) {
    queries = remember(queries, `q${at}`, at);
  }
  assert.equal(queries.history.length, HISTORY_MAX);
  assert.equal(queries.history[0].text, `q${2 * HISTORY_MAX - 1}`);
  assert.equal(remember(NONE, "  ", 1), NONE);
  assert.equal(remember(NONE, "x".repeat(20_001), 1), NONE);
});

test("what is saved has a name of its own", () => {
  const queries = save(save(save(NONE, "b", "1"), "a", "2"), "b", "3 ");
  assert.deepEqual(queries.saved, [
    { name: "a", text: "2" },
    { name: "b", text: "3" },
  ]);
  assert.deepEqual(
    forget(queries, "a").saved.map(({ name }) => name),
    ["b"],
  );
});

test("what cannot be saved is told", () => {
  assert.equal(faultOfSaving(NONE, "a", "x"), null);
  assert.match(faultOfSaving(NONE, "", "x"), /name/);
  assert.match(faultOfSaving(NONE, "n".repeat(201), "x"), /200/);
  assert.match(faultOfSaving(NONE, "a", " "), /no query/);
  assert.match(faultOfSaving(NONE, "a", "x".repeat(20_001)), /20000/);
  const full = {
    ...NONE,
    saved: Array.from({ length: SAVED_MAX }, (_, at) => ({ name: `${at}` })),
  };
  assert.match(faultOfSaving(full, "new", "x"), /already/);
  assert.equal(faultOfSaving(full, "7", "x"), null);
});

test("what somebody else left in the browser is no query", () => {
  for (const value of [
    null,
    7,
    "x",
    [],
    { saved: 1, history: {} },
    { saved: [null, { text: 1 }] },
  ]) {
    assert.deepEqual(readQueries(value), NONE);
  }
  const kept = { saved: [{ name: "a", text: "x" }], history: [{ text: "x", at: 1 }] };
  assert.deepEqual(readQueries(kept), kept);
});
