import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, short, size, whole } from "../../../src/everlog/ui/browser/model/amounts.js";
import { curl } from "../../../src/everlog/ui/browser/model/curl.js";
import { mean, rate, samples, stateOf } from "../../../src/everlog/ui/browser/model/metrics.js";

test("the samples of OpenMetrics are read by their names and labels", () => {
  const values = samples(
    [
      "# HELP everlog_log_events Events in the log.",
      "everlog_log_events 12",
      'everlog_requests_total{method="GET",path="/api/v1/ping",status="200"} 3',
      'everlog_store_condition{everlog_store_condition="writable"} 1',
      'everlog_store_condition{everlog_store_condition="failed"} 0',
      "everlog_sync_duration_seconds_sum 0.5",
      "# EOF",
      "",
    ].join("\n"),
  );
  assert.equal(values.get("everlog_log_events"), 12);
  assert.equal(
    values.get('everlog_requests_total{method="GET",path="/api/v1/ping",status="200"}'),
    3,
  );
  assert.equal(stateOf(values, "everlog_store_condition"), "writable");
  assert.equal(stateOf(values, "everlog_health"), undefined);
});

test("a rate is what a counter grew by, and nothing where it began anew", () => {
  const before = new Map([["c", 10]]);
  assert.equal(rate(before, new Map([["c", 30]]), "c", 4), 5);
  assert.equal(rate(before, new Map([["c", 3]]), "c", 4), null);
  assert.equal(rate(null, before, "c", 4), null);
  assert.equal(rate(before, before, "c", 0), null);
});

test("a mean is that of what came between two looks", () => {
  /** @type {(count: number, sum: number) => Map<string, number>} */
  const at = (count, sum) => new Map(Object.entries({ h_count: count, h_sum: sum }));
  assert.equal(mean(at(1, 1), at(3, 2), "h"), 0.5);
  assert.equal(mean(at(3, 2), at(3, 2), "h"), null);
});

test("amounts are told as people read them", () => {
  assert.deepEqual([0, 999, 1234567].map(whole), ["0", "999", "1,234,567"]);
  assert.deepEqual([0, 0.01234, 12.345, 123.4].map(short), ["0", "0.0123", "12.3", "123"]);
  assert.deepEqual([0, 1023, 1536, 5 * 2 ** 30].map(size), [
    "0 bytes",
    "1,023 bytes",
    "1.5 KiB",
    "5 GiB",
  ]);
  assert.deepEqual([0, 0.000_012, 0.0123, 12, 150, 7_260, 200_000].map(duration), [
    "0 s",
    "12 µs",
    "12.3 ms",
    "12 s",
    "2 min",
    "2 h 1 min",
    "2 days",
  ]);
});

test("a command has a variable for the token, and takes whatever is in a body", () => {
  const command = curl({ method: "QUERY", url: "http://x/api", body: `{"a":"it's $HOME"}` });
  assert.equal(
    command,
    [
      "curl",
      "--request QUERY",
      '--header "Authorization: Bearer $EVERLOG_API_TOKEN"',
      `--data-binary '{"a":"it'\\''s $HOME"}'`,
      "'http://x/api'",
    ].join(" \\\n  "),
  );
});
