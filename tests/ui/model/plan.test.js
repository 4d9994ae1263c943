// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  adviceOf,
  isExplain,
  isPlan,
  stepsOf,
  withExplain,
} from "../../../src/everlog/ui/browser/model/plan.js";

/** Every plan that the page about plans shows, which tests hold to the server. */
const PLANS = [
  ...readFileSync(new URL("../../../docs/eventql/plans.md", import.meta.url), "utf8").matchAll(
    /```json\n(\{[\s\S]*?)```/g,
  ),
].map((block) => JSON.parse(block[1]));

test("every plan of the manual can be told, all of it", () => {
  assert.ok(PLANS.length >= 6);
  for (const plan of PLANS) {
    assert.ok(isPlan(plan));
    const told = JSON.stringify(stepsOf(plan));
    const words = [...(plan.judgesEachRow ?? []), ...plan.holds, ...(plan.notes ?? [])];
    words.push(...[plan.groupsBy, plan.sortsBy, plan.answeredByIndex].filter(Boolean));
    for (const source of plan.sources) {
      words.push(...Object.values(source.selectedByIndex ?? {}).flat());
    }
    for (const word of words) {
      assert.ok(told.includes(JSON.stringify(word).slice(1, -1)), `${word} in ${told}`);
    }
  }
});

test("a source says how much of the log is read", () => {
  const [step] = stepsOf(PLANS[0]);
  assert.equal(step.title, "Read events that the index finds, the latest first");
  assert.deepEqual(step.details, ["of the type com.example.book-borrowed"]);
  assert.deepEqual(step.share, { read: 4, all: 11 });
});

test("a subquery has steps of its own", () => {
  const plan = { sources: [{ source: "subquery", ...PLANS[0] }], holds: [] };
  assert.deepEqual(stepsOf(plan)[0].steps, stepsOf(PLANS[0]));
});

test("who reads a large log to its end is told so", () => {
  const source = { source: "events", selectedByIndex: {}, order: "oldest first" };
  const of = (read, all) => ({
    sources: [{ ...source, eventsInLog: all, eventsToReadAtMost: read }],
    holds: [],
  });
  assert.match(adviceOf(of(1_000_000, 1_000_000)), /index/);
  assert.equal(adviceOf(of(10, 1_000_000)), null);
  assert.equal(adviceOf(of(10, 10)), null);
});

test("EXPLAIN comes and goes in front", () => {
  const text = "// why\nFROM e IN events PROJECT INTO e";
  assert.ok(!isExplain(text));
  assert.ok(isExplain(withExplain(text, true)));
  assert.equal(withExplain(withExplain(text, true), false), text);
  assert.ok(isExplain("/* x */ explain FROM"));
  assert.ok(!isExplain("explained"));
});
