// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  faultsOf,
  offsetOf,
  rangeOf,
  tokenize,
} from "../../../src/everlog/ui/browser/model/highlight.js";

const styles = (text) => tokenize(text).map((each) => `${each.text}:${each.style}`);

test("words are what their place makes of them", () => {
  assert.deepEqual(styles("from e in Events project into count(e.data.in)"), [
    "from:keyword",
    "e:variableName",
    "in:keyword",
    "Events:className",
    "project:keyword",
    "into:keyword",
    "count:variableName.function",
    "(:punctuation",
    "e:variableName",
    ".:punctuation",
    "data:propertyName",
    ".:punctuation",
    "in:propertyName",
    "):punctuation",
  ]);
  assert.deepEqual(styles("x AS int NOT true"), [
    "x:variableName",
    "AS:keyword",
    "int:typeName",
    "NOT:operatorKeyword",
    "true:atom",
  ]);
});

test("EXPLAIN is a keyword in front only", () => {
  assert.deepEqual(styles("/* so */ explain\nFROM explain"), [
    "explain:keyword",
    "FROM:keyword",
    "explain:variableName",
  ]);
});

test("comments may have many lines, strings may not", () => {
  assert.deepEqual(styles("1 /* 2\n3 */ 4 // 5\n6"), ["1:number", "4:number", "6:number"]);
  assert.deepEqual(styles("'a\nb'"), ["'a:invalid", "b:variableName", "':invalid"]);
});

test("what is no token is marked, and the rest is read", () => {
  assert.deepEqual(styles("1. 1e 12a = <> ; 😀 1"), [
    "1.:invalid",
    "1e:invalid",
    "12a:invalid",
    "=:invalid",
    "<:invalid",
    ">:operator",
    ";:invalid",
    "😀:invalid",
    "1:number",
  ]);
});

test("a place of the server counts characters, one of the editor UTF-16 units", () => {
  assert.equal(offsetOf("'😀😀' x\ny", 1, 6), 7);
  assert.equal(offsetOf("'😀😀' x\ny", 2, 1), 9);
  assert.equal(offsetOf("x", 7, 7), 1);
});

test("an error is underlined from its first token to its last", () => {
  const text = "FROM e IN events\nPROJECT INTO e.data.title AS INT";
  const details = {
    startToken: { line: 2, column: 14, text: "e" },
    endToken: { line: 2, column: 30, text: "INT" },
  };
  const range = rangeOf(text, details);
  assert.equal(text.slice(range.from, range.to), "e.data.title AS INT");
  assert.equal(rangeOf(text, {}), null);
  const end = { startToken: { line: 2, column: 33, text: "" } };
  assert.deepEqual(rangeOf(text, end), { from: text.length - 1, to: text.length });
});

test("all faults of a text have a place", () => {
  const text = "FROM e IN events WHERE e.typ == 'x' PROJECT INTO LENGTH(e.id)";
  const token = { line: 1, column: 26, text: "typ" };
  const error = {
    message: "1:26: events have no field 'typ'",
    details: {
      startToken: token,
      endToken: token,
      errors: ["1:26: events have no field 'typ'", "1:50: unknown function 'LENGTH'"],
    },
  };
  const faults = faultsOf(text, error);
  assert.deepEqual(
    faults.map((each) => [text.slice(each.from, each.to), each.message]),
    [
      ["typ", "events have no field 'typ'"],
      ["LENGTH", "unknown function 'LENGTH'"],
    ],
  );
});
