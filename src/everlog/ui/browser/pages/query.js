/** Questions about the log: an editor of EventQL, what comes of it, and queries that are kept. */

import { html } from "everlog/html";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { offerAt } from "../knowledge.js";
import { curl } from "../model/curl.js";
import { faultsOf } from "../model/highlight.js";
import { isExplain, withExplain } from "../model/plan.js";
import { readQueries, remember } from "../model/queries.js";
import { Rows } from "../model/rows.js";
import { CommandLine, CopyButton, ErrorBox, Notice } from "../parts/basics.js";
import { QueryEditor } from "../parts/editor.js";
import { KeptQueries, SaveDialog } from "../parts/kept-queries.js";
import { Results } from "../parts/results.js";
import { kept } from "../preferences.js";
import { changed, go, link } from "../router.js";

export const title = "Query";

const FIRST = "FROM e IN events\nORDER BY e.time DESC\nTOP 100\nPROJECT INTO e";
const DRAW_MS = 120;
const JUDGE_MS = 700;
// Whoever still types knows that there is more to come.
const UNFINISHED = /found the end of the query/;

/** Texts of queries, for this server; never what came of them. */
const queries = kept(`everlog.queries ${api.ROOT.pathname}`, readQueries(null));

/**
 * What came of a query so far.
 * @typedef {{text: string, state: "running" | "done" | "cancelled" | "failed", rows: Rows,
 *   count: number, startedAt: number, ms: number, error: unknown}} Run
 */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const asked = params.get("query") ?? "";
  const [text, setText] = useState(asked || FIRST);
  const [given, setGiven] = useState({ text });
  const [run, setRun] = useState(/** @type {Run | null} */ (null));
  const [faults, setFaults] = useState(/** @type {import("../parts/editor.js").Fault[]} */ ([]));
  const [isSaving, setSaving] = useState(false);
  const ended = useRef(new AbortController());
  const shownText = useRef(text);

  const show = (/** @type {Record<string, any>} */ changes, replace = true) =>
    go("query", changed(params, changes), { replace });

  /** @param {string} next what is typed, or with `true` what the editor is given */
  const take = (next, isGiven = true) => {
    setText(next);
    setFaults([]);
    if (isGiven) {
      setGiven({ text: next });
    }
  };
  /** @param {string} query */
  const start = async (query) => {
    ended.current.abort();
    const mine = new AbortController();
    ended.current = mine;
    queries.value = remember(readQueries(queries.value), query, Date.now());
    for await (const next of running(query, mine.signal)) {
      // Another one may have begun meanwhile.
      if (ended.current !== mine) {
        return;
      }
      setRun(next);
      if (next.state === "failed") {
        setFaults(faultsOf(query, /** @type {any} */ (next.error)));
      }
    }
  };
  /** @param {string} query */
  const runNow = (query) => {
    take(query, query !== text);
    shownText.current = query;
    if (query !== asked || params.get("run") !== "true") {
      show({ query, run: true, x: null, y: [], view: null }, asked === "" && run === null);
    }
    start(query);
  };

  // Each state is an address: going back shows the query of before, and runs it if it ran.
  useEffect(() => {
    if (asked !== "" && (asked !== shownText.current || run === null)) {
      shownText.current = asked;
      take(asked);
      if (params.get("run") === "true") {
        start(asked);
      }
    }
  }, [asked]);
  useEffect(() => () => ended.current.abort(), []);
  useJudging(text, run, setFaults);

  const isRunning = run?.state === "running";
  const isPlanAsked = isExplain(text);
  return html`<div class="query-page">
    <div class="stack">
      <section class="card flush" aria-label="Query">
        <${QueryEditor} given=${given} label="EventQL query" onChange=${(/** @type {string} */ next) => take(next, false)} faults=${faults}
          onRun=${() => runNow(text)} offer=${offerAt} />
        <div class="row query-bar">
          ${
            isRunning
              ? html`<button type="button" onClick=${() => ended.current.abort()}>Cancel</button>`
              : html`<button type="button" class="primary" onClick=${() => runNow(text)}>Run <kbd>Ctrl ↵</kbd></button>`
          }
          <button type="button" onClick=${() => runNow(withExplain(text, !isPlanAsked))}
            disabled=${isRunning}>${isPlanAsked ? "Run without EXPLAIN" : "Explain"}</button>
          <span class="end row">
            <button type="button" class="quiet" onClick=${() => setSaving(true)}>Save</button>
            <${CopyButton} label="Copy link" class="quiet"
              text=${() => new URL(link("query", { query: text, view: params.get("view"), run: true }), location.href).href} />
          </span>
        </div>
        <${Faults} faults=${faults} text=${text} />
      </section>
      ${run === null ? null : html`<${Outcome} run=${run} params=${params} show=${show} />`}
      <${Command} text=${text} />
    </div>
    <${KeptQueries} queries=${queries} onTake=${(/** @type {string} */ each) => take(each)} onRun=${runNow} />
    ${isSaving ? html`<${SaveDialog} queries=${queries} text=${text} onClose=${() => setSaving(false)} />` : null}
  </div>`;
}

/** @param {{text: string}} props */
function Command({ text }) {
  const url = new URL("api/v2/data/run-eventql-query", api.ROOT).href;
  const body = JSON.stringify({ query: text });
  return html`<${CommandLine} curl=${curl({ method: "QUERY", url, body, isStream: true })} />`;
}

/** @param {{faults: import("../parts/editor.js").Fault[], text: string}} props */
function Faults({ faults, text }) {
  if (faults.length === 0) {
    return null;
  }
  return html`<ul class="faults" role="status">
    ${faults.slice(0, 5).map((fault, at) => {
      const before = text.slice(0, fault.from).split("\n");
      const place = `${before.length}:${[...(before.at(-1) ?? "")].length + 1}`;
      return html`<li key=${at}><code>${place}</code> <span class="any">${fault.message}</span></li>`;
    })}
  </ul>`;
}

/** @param {{run: Run, params: URLSearchParams, show: (changes: Record<string, any>) => void}} props */
function Outcome({ run, params, show }) {
  const { state, rows, count, error } = run;
  const all = useMemo(() => rows.all.slice(0, count), [rows, count]);
  return html`<${State} run=${run} />
    ${state === "failed" ? html`<${Failure} error=${error} />` : null}
    ${state === "cancelled" ? html`<${Notice}>The query was cancelled; the rows that came before are shown.<//>` : null}
    <${Results} rows=${all} isCut=${rows.isCut} isDone=${state === "done"} view=${params.get("view") ?? ""}
      x=${params.get("x")} ys=${params.getAll("y")} onChange=${show} />`;
}

/** @param {{error: any}} props */
function Failure({ error }) {
  const id = error?.details?.eventId;
  const where =
    id === undefined ? null : html`<p><a href=${link("event", { id })}>Open event ${id}</a></p>`;
  const isMalformed = error?.code === "query-malformed";
  return html`<${ErrorBox} error=${error} title=${isMalformed ? "This is no query." : "The query did not come to its end."} />${where}`;
}

/** @param {{run: Run}} props */
function State({ run }) {
  const { state, count, startedAt, ms } = run;
  const [, tick] = useState(0);
  useEffect(() => {
    if (state !== "running") {
      return undefined;
    }
    const timer = setInterval(() => tick((each) => each + 1), 100);
    return () => clearInterval(timer);
  }, [state, startedAt]);
  const shownMs = state === "running" ? performance.now() - startedAt : ms;
  const rows = `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}`;
  return html`<div class="row small muted" aria-label="State of the query">
    ${state === "running" ? html`<span class="spinner" aria-hidden="true"></span>` : null}
    <span role="status">${state === "running" ? "Running" : rows}</span>
    ${state === "running" ? html`<span>${rows}</span>` : null}
    <span>${elapsed(shownMs)}</span>
  </div>`;
}

/** @param {number} ms */
function elapsed(ms) {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/**
 * Run a query, and yield what came of it some times a second and in the end.
 * @param {string} text
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Run, void, void>}
 */
async function* running(text, signal) {
  const startedAt = performance.now();
  const rows = new Rows();
  /** @type {(state: Run["state"], error?: unknown) => Run} */
  const now = (state, error = null) => {
    const ms = performance.now() - startedAt;
    return { text, state, rows, count: rows.all.length, startedAt, ms, error };
  };
  yield now("running");
  try {
    let drawnAt = startedAt;
    for await (const row of untilAborted(api.query(text, { signal }), signal)) {
      if (!rows.add(row)) {
        break;
      }
      if (performance.now() - drawnAt > DRAW_MS) {
        yield now("running");
        // The page draws, and hears what is typed.
        await new Promise((resolve) => setTimeout(resolve, 0));
        drawnAt = performance.now();
      }
    }
    yield now(signal.aborted ? "cancelled" : "done");
  } catch (error) {
    yield signal.aborted ? now("cancelled") : now("failed", error);
  }
}

/**
 * Yield items until a signal ends it, at once and without an error.
 * @template T
 * @param {AsyncGenerator<T, void, void>} items
 * @param {AbortSignal} signal
 */
async function* untilAborted(items, signal) {
  for await (const item of items) {
    if (signal.aborted) {
      return;
    }
    yield item;
  }
}

/**
 * Have a text judged while it is typed, as soon as nobody types: the plan is asked for, and thrown
 * away.
 * @param {string} text
 * @param {Run | null} run
 * @param {(faults: import("../parts/editor.js").Fault[]) => void} onFaults
 */
function useJudging(text, run, onFaults) {
  useEffect(() => {
    // What has just run was judged by that.
    if (text.trim() === "" || text === run?.text) {
      return undefined;
    }
    const ended = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const asked = isExplain(text) ? text : `EXPLAIN\n${text}`;
        for await (const _ of api.query(asked, { signal: ended.signal })) {
          break;
        }
      } catch (error) {
        if (
          !ended.signal.aborted &&
          error instanceof api.ApiError &&
          error.code === "query-malformed" &&
          !UNFINISHED.test(error.message)
        ) {
          onFaults(faultsOf(text, isExplain(text) ? error : aLineUp(error)));
        }
      }
    }, JUDGE_MS);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [text, run?.text]);
}

/**
 * Return an error of a text with EXPLAIN in front as one of the text itself.
 * @param {api.ApiError} error
 */
function aLineUp({ message, details }) {
  const place = (/** @type {string} */ each) =>
    String(each).replace(/^(\d+):/, (_, line) => `${Number(line) - 1}:`);
  const token = (/** @type {any} */ each) => each && { ...each, line: each.line - 1 };
  const { startToken, endToken, errors } = details ?? {};
  return {
    message: place(message),
    details: {
      startToken: token(startToken),
      endToken: token(endToken),
      errors: errors?.map(place),
    },
  };
}
