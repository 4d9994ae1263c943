// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bodyOf,
  draftLike,
  draftSchema,
  faultOfData,
  fieldOf,
  newPrecondition,
} from "../../../src/everlog/ui/browser/model/drafts.js";

test("a draft of a schema says what all events have in common", () => {
  const values = [
    { a: 1, b: "x", c: { d: null }, e: [1, "y"] },
    { a: 1.5, c: { d: 1, f: true }, e: [] },
  ];
  assert.deepEqual(draftSchema(values), {
    type: "object",
    properties: {
      a: { type: "number" },
      b: { type: "string" },
      c: {
        type: "object",
        properties: { d: { type: ["integer", "null"] }, f: { type: "boolean" } },
        required: ["d"],
      },
      e: { type: "array", items: { type: ["integer", "string"] } },
    },
    required: ["a", "c", "e"],
  });
  assert.deepEqual(draftSchema([]), { type: "object", properties: {} });
});

test("the body of a write has data as it was typed", () => {
  const event = { source: "https://a.example", subject: "/a", type: "com.example.a" };
  const draft = draftLike(event, ' {"n": 12345678901234567890.50} ');
  draft.preconditions = [
    { ...newPrecondition("/a"), recursive: true },
    { ...newPrecondition("/b"), type: "isSubjectOnEventId", eventId: "7" },
    { ...newPrecondition("/c"), type: "isEventQlQueryTrue", query: "FROM" },
  ];
  const body = bodyOf(draft);
  assert.ok(body.includes('"data":{"n": 12345678901234567890.50}'));
  assert.deepEqual(JSON.parse(body).preconditions, [
    { type: "isSubjectPristine", payload: { subject: "/a", options: { recursive: true } } },
    { type: "isSubjectOnEventId", payload: { subject: "/b", eventId: "7" } },
    { type: "isEventQlQueryTrue", payload: { query: "FROM" } },
  ]);
  const [sent] = JSON.parse(body).events;
  assert.deepEqual(Object.keys(sent), ["source", "subject", "type", "data"]);
});

test("what is empty is sent as such, but for what is optional", () => {
  const body = JSON.parse(bodyOf(draftLike(null, "")));
  assert.deepEqual(body, { events: [{ source: "", subject: "", type: "" }] });
});

test("data has to be an object", () => {
  assert.equal(faultOfData('{"a":1}'), null);
  for (const text of ["", "[1]", "null", "7"]) {
    assert.match(faultOfData(text), /object/);
  }
  assert.match(faultOfData("{a:1}"), /no JSON/);
});

test("a refusal is shown at the field that it is about", () => {
  const cases = [
    ["subject-malformed", { field: "events[0].subject", eventIndex: 0 }, "subject"],
    ["event-type-missing", { field: "events[0].type" }, "type"],
    ["source-malformed", {}, "source"],
    ["data-malformed", { field: "events[0].data" }, "data"],
    ["traceparent-malformed", {}, "traceparent"],
    ["event-schema-violated", { eventIndex: 0 }, "data"],
    ["precondition-violated", { preconditionIndex: 1, precondition: 1 }, "1.type"],
    [
      "subject-malformed",
      { field: "preconditions[2].payload.subject", preconditionIndex: 2 },
      "2.subject",
    ],
    ["query-malformed", { preconditionIndex: 0 }, "0.query"],
    ["disk-full", {}, null],
  ];
  for (const [code, details, field] of cases) {
    assert.equal(fieldOf({ code, details }), field, code);
  }
  assert.equal(fieldOf(new Error("x")), null);
});
