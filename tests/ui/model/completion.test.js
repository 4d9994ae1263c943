// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aliasesOf,
  complete,
  fieldsOf,
  helpOf,
  typesIn,
} from "../../../src/everlog/ui/browser/model/completion.js";
import { FUNCTIONS } from "../../../src/everlog/ui/browser/model/functions.js";

const KNOWN = {
  types: ["com.example.a", "com.example.b"],
  subjects: ["/books", "/books/42"],
  fields: ["data.title", "data.author", "data.author.name"],
};

/** Offers at the mark. */
function at(marked, isAsked = true) {
  const place = marked.indexOf("|");
  return complete(marked.replace("|", ""), place, KNOWN, isAsked);
}

const labels = (marked) => at(marked)?.options.map((each) => each.label) ?? null;

test("types and subjects are offered in quotes, by the field that they are compared with", () => {
  assert.deepEqual(labels("FROM e IN events WHERE e.type == '|"), KNOWN.types);
  assert.deepEqual(labels('FROM e IN events WHERE e.subject != "/bo|"'), KNOWN.subjects);
  assert.deepEqual(labels("WHERE STARTSWITH(e.subject, '|')"), KNOWN.subjects);
  assert.deepEqual(labels("WHERE ['a', '|'] CONTAINS e.subject"), KNOWN.subjects);
  assert.equal(labels("WHERE e.data.title == '|"), null);
});

test("a string that is not closed gets its quote, one that is closed is taken whole", () => {
  const open = at("WHERE e.type == '|");
  assert.equal(open.options[0].apply, "com.example.a'");
  const closed = at("WHERE e.type == 'com.|ex' PROJECT");
  assert.equal(closed.options[0].apply, "com.example.a'");
  assert.equal(closed.after, "ex'".length);
});

test("fields are those of an event, and those seen in data", () => {
  const top = labels("FROM e IN events WHERE e.|");
  assert.ok(["type", "subject", "data", "predecessorhash"].every((each) => top.includes(each)));
  assert.deepEqual(labels("FROM e IN events WHERE e.data.|"), ["title", "author"]);
  assert.deepEqual(labels("FROM e IN events WHERE e.data.author.n|"), ["name"]);
  assert.equal(labels("FROM s IN subjects WHERE s.|"), null);
});

test("sources stand behind IN, types behind AS", () => {
  assert.deepEqual(labels("FROM e IN |"), ["events", "subjects", "eventtypes"]);
  assert.ok(labels("PROJECT INTO e.id AS I|").includes("INT"));
  assert.ok(!labels("PROJECT INTO e.id AS I|").includes("IF"));
});

test("functions come with their signature and help", () => {
  const found = at("FROM e IN events PROJECT INTO SUB|").options;
  const entry = found.find((each) => each.label === "SUBSTRING");
  assert.equal(entry.apply, "SUBSTRING(");
  assert.match(entry.detail, /^\(text: STRING, start: INT\[, length: INT\]\) -> STRING$/);
  assert.match(entry.info, /counted from 0/);
  assert.equal(found.find((each) => each.label === "NOW").apply, "NOW()");
  assert.equal(found[0].label, "e");
});

test("nothing is offered in comments, numbers, or unasked", () => {
  assert.equal(at("FROM e // |"), null);
  assert.equal(at("FROM e /* |"), null);
  assert.equal(at("TOP 10|"), null);
  assert.equal(at("FROM e IN events |", false), null);
});

test("the text says which names and types it is about", () => {
  const text =
    "from a in events FROM b IN (FROM c IN subjects PROJECT INTO c) WHERE a.type == 'x.y.z'";
  assert.deepEqual(
    aliasesOf(text).map((each) => each.alias),
    ["a", "b", "c"],
  );
  assert.deepEqual(typesIn(text), ["x.y.z"]);
});

test("fields of values are paths that can be written", () => {
  const values = [{ a: { b: 1, "c d": 2 } }, { a: { e: null } }, "x", null, [{ f: 1 }]];
  assert.deepEqual(fieldsOf(values), ["data.a", "data.a.b", "data.a.e"]);
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, each) => [`f${each}`, 1]));
  assert.equal(fieldsOf([many]).length, 500);
});

test("each function has help", () => {
  assert.ok(FUNCTIONS.length > 40);
  for (const entry of FUNCTIONS) {
    assert.ok(helpOf(entry).includes(entry.summary));
  }
});
