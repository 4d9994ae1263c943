/**
 * What is known of the server: asked for while somebody is signed in and looks.
 *
 * The samples of the last minutes go on while other pages are shown, so that charts have a past.
 */

import { computed, effect, signal } from "@preact/signals";
import { ApiError, json, text } from "./api.js";
import { mean, rate, samples } from "./model/metrics.js";
import { isSignedIn } from "./session.js";

const INTERVAL_MS = 2_000;
const KEPT_MS = 10 * 60_000;
// After so long without a look there is a gap, and not a line.
const GAP_MS = 10_000;

/**
 * What one look at the metrics showed; a rate is null where nothing can be said.
 * @typedef {{at: number, writes: number | null, commit: number | null, requests: number | null,
 *   observers: number | null, memory: number | null, processor: number | null,
 *   delay: number | null}} Sample
 */

/**
 * @template T
 * @typedef {import("@preact/signals").Signal<T>} Signal
 */

/** @type {Signal<any>} */
export const health = signal(null);
/** @type {Signal<any>} */
export const diagnostics = signal(null);
/** @type {Signal<Map<string, number> | null>} */
export const metrics = signal(null);
/** @type {Signal<Sample[]>} */
export const history = signal([]);
/**
 * Why the server could not be asked just now.
 * @type {Signal<ApiError | null>}
 */
export const trouble = signal(null);

/** What the server says about writing: `writable`, `read-only`, ... */
export const writability = computed(
  () => health.value?.checks?.["store:writability"]?.[0]?.observedValue ?? null,
);

/** Whether forms that write are shown: not where every write would be refused. */
export const canWrite = computed(
  () => writability.value !== "read-only" && writability.value !== "following",
);

/**
 * How the operator calls this server, and the colour of that, as everybody may see it.
 * @type {Signal<{title: string | null, colour: string | null}>}
 */
export const appearance = signal({ title: null, colour: null });

json("GET", "appearance.json", undefined, { isOpen: true }).then(
  (value) => {
    appearance.value = value;
  },
  () => {},
);

/** @type {Map<string, number> | null} */
let before = null;
let beforeAt = 0;

/** Asks the server now, and again as long as somebody is signed in. */
effect(() => {
  if (!isSignedIn.value) {
    forget();
    return undefined;
  }
  const ended = new AbortController();
  let isBusy = false;
  const look = async () => {
    if (!isBusy && !document.hidden) {
      isBusy = true;
      await ask(ended.signal);
      isBusy = false;
    }
  };
  const timer = setInterval(look, INTERVAL_MS);
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    ended.abort();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", look);
  };
});

/** @param {AbortSignal} ended */
async function ask(ended) {
  try {
    // A server that fails says so with a document.
    const accept = [503];
    const system = "api/v2/system";
    const [document, figures] = await Promise.all([
      json("GET", `${system}/health`, undefined, { signal: ended, accept }),
      text("GET", `${system}/health?format=openmetrics`, undefined, { signal: ended }),
    ]);
    health.value = document;
    note(samples(figures));
    trouble.value = null;
    if (diagnostics.value === null) {
      const answer = await json("GET", `${system}/diagnostics`, undefined, { signal: ended });
      diagnostics.value = answer.data;
    }
  } catch (error) {
    if (!ended.aborted && error instanceof ApiError) {
      // While a backup is restored nothing is told but how well the server is.
      trouble.value = error.code === "restore-in-progress" ? null : error;
    }
    if (trouble.value !== null) {
      // It may come back as another one, with other options.
      diagnostics.value =
        error instanceof ApiError && error.status === 0 ? null : diagnostics.value;
    }
  }
}

/** @param {Map<string, number>} now */
function note(now) {
  const at = Date.now();
  const seconds = (at - beforeAt) / 1000;
  const isGap = at - beforeAt > GAP_MS;
  const last = isGap ? null : before;
  const sample = {
    at,
    writes: rate(last, now, "everlog_written_events_total", seconds),
    commit: mean(last, now, "everlog_sync_duration_seconds"),
    requests: requests(last, now, seconds),
    observers: now.get("everlog_observers") ?? null,
    memory: now.get("process_resident_memory_bytes") ?? null,
    processor: rate(last, now, "process_cpu_seconds_total", seconds),
    delay: mean(last, now, "everlog_event_loop_delay_seconds"),
  };
  metrics.value = now;
  history.value = [...history.value.filter((each) => at - each.at < KEPT_MS), sample];
  before = now;
  beforeAt = at;
}

/**
 * @param {Map<string, number> | null} last
 * @param {Map<string, number>} now
 * @param {number} seconds
 */
function requests(last, now, seconds) {
  if (last === null || seconds <= 0) {
    return null;
  }
  let sum = 0;
  for (const [name, value] of now) {
    if (name.startsWith("everlog_requests_total{")) {
      sum += value - (last.get(name) ?? 0);
    }
  }
  return Math.max(sum, 0) / seconds;
}

function forget() {
  health.value = null;
  diagnostics.value = null;
  metrics.value = null;
  history.value = [];
  trouble.value = null;
  before = null;
}
