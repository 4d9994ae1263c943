/** A trace: the events that one request left behind, wherever they are, in their order. */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import { query } from "../api.js";
import { whole } from "../model/amounts.js";
import { traceOf } from "../model/eventql.js";
import { Asked, queryCommand } from "../parts/asked.js";
import { Badge, CopyButton, Empty, ErrorBox, Field, Time } from "../parts/basics.js";
import { Icon } from "../parts/icons.js";
import { traceIn } from "../parts/reading.js";
import { changed, go, link } from "../router.js";

export const title = "Trace";

/**
 * @typedef {{id: string, time: string, subject: string, type: string, source: string,
 *   traceparent: string}} Traced
 */

const NOTE =
  "No index knows traces: the server reads every event that the query may mean, in a process of " +
  "its own.";

const EVENTS_MAX = 1_000;
// No index knows traces: around an event is where its trace is, nearly always.
const AROUND = 100_000n;

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const given = params.get("trace") ?? "";
  const trace = /^[0-9a-f]{32}$/.test(given) ? given : traceIn(given);
  const near = /^[0-9]{1,19}$/.test(params.get("near") ?? "")
    ? BigInt(params.get("near") ?? 0)
    : null;
  const isAll = params.get("all") === "true" || near === null;
  const range =
    isAll || near === null
      ? null
      : { first: near > AROUND ? near - AROUND : 0n, last: near + AROUND };
  const text = trace === null ? null : traceOf(trace, range, EVENTS_MAX);
  const { found, error, isRunning, seconds, cancel, retry } = useRows(text);
  return html`<${Search} value=${given} isWrong=${given !== "" && trace === null} />
    ${
      text === null
        ? html`<div class="card"><${Empty} title="Which trace?">
          <p>Type a trace id, or a traceparent: 32 hexadecimal digits, as W3C Trace Context has
            them.</p>
          <//></div>`
        : html`<div class="row">
            <h2 class="mono any">${trace}</h2><${CopyButton} text=${trace ?? ""}
              label="Copy trace id" iconOnly />
            <span class="muted small" role="status">
              ${whole(found.length)} event${found.length === 1 ? "" : "s"}${
                isRunning
                  ? ` so far, ${seconds} s`
                  : isAll
                    ? " in the whole log"
                    : " around the event"
              }</span>
            ${
              isRunning
                ? html`<span class="spinner" aria-hidden="true"></span><button type="button"
              class="small" onClick=${cancel}>Stop</button>`
                : null
            }
            ${
              range === null || isRunning
                ? null
                : html`<a class="button small"
                  href=${link("trace", changed(params, { all: "true" }))}>Search the whole log</a>`
            }
          </div>
          ${error === null ? null : html`<${ErrorBox} error=${error} retry=${retry} />`}
          ${
            found.length === 0
              ? isRunning || error !== null
                ? null
                : html`<div class="card"><${Empty} title="No event of this trace"><p>${
                    range === null
                      ? "No event of the log has it."
                      : "None among the events around this one."
                  }</p><//></div>`
              : html`<${Timeline} found=${found} near=${near === null ? null : String(near)} />`
          }
          <details class="behind"><summary>The same as EventQL, and with curl</summary>
            <${Asked} query=${text} curl=${queryCommand(text)}
              note=${NOTE} /></details>`
    }`;
}

/** @param {{value: string, isWrong: boolean}} props */
function Search({ value, isWrong }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const choose = () => text.trim() !== value && go("trace", { trace: text.trim().toLowerCase() });
  return html`<div class="toolbar"><${Field} label="Trace id or traceparent" class="wide"
    fault=${isWrong ? "That is no trace id: it has 32 hexadecimal digits." : null}>${(
      /** @type {any} */ attributes,
    ) => html`<input ...${attributes} type="text"
      class="mono" value=${text} autocomplete="off" spellcheck="false"
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose()} />`}
        <//>
    <button type="button" class="primary" onClick=${choose}><${Icon} name="search" />Find</button>
      </div>`;
}

/** @param {{found: Traced[], near: string | null}} props */
function Timeline({ found, near }) {
  const start = Date.parse(found[0]?.time ?? "");
  return html`<div class="card flush"><div class="table-scroll"><table class="trace"
    aria-label="Events of the trace">
    <thead><tr><th scope="col">Event</th><th scope="col" class="number">After</th><th
      scope="col">Type</th><th scope="col">Subject</th>
      <th scope="col" class="wide-only">Source</th><th scope="col" class="wide-only">Span</th><th
        scope="col" class="wide-only">Time</th></tr></thead>
    <tbody>${found.map(
      (event) => html`<tr key=${event.id} aria-current=${event.id === near ? "true" : undefined}>
        <td><a class="mono" href=${link("event", { id: event.id })}>${event.id}</a></td>
        <td class="number mono">${afterText(Date.parse(event.time) - start)}</td>
        <td class="mono any">${event.type}</td>
        <td class="mono any"><a class="plain" href=${link("events", { subject: event.subject })}>
          ${event.subject}</a></td>
        <td class="mono any wide-only">${event.source}</td>
        <td class="mono wide-only"><${Badge}>${event.traceparent.split("-")[2] ?? ""}<//></td>
        <td class="wide-only"><${Time} value=${event.time} short /></td>
      </tr>`,
    )}</tbody></table></div></div>
    ${
      found.length >= EVENTS_MAX
        ? html`<p
      class="muted small">These are the first ${whole(EVENTS_MAX)}; the query below can ask for
        more.</p>`
        : null
    }`;
}

/** @param {number} ms */
function afterText(ms) {
  if (ms < 1_000) {
    return `+${ms} ms`;
  }
  return ms < 120_000 ? `+${(ms / 1_000).toFixed(1)} s` : `+${whole(ms / 60_000)} min`;
}

/**
 * Runs a query, and returns its rows as they come.
 * @param {string | null} text
 */
function useRows(text) {
  const [round, setRound] = useState(0);
  const [state, setState] = useState(
    /** @type {{found: Traced[], error: unknown, isRunning: boolean, seconds: number}} */ ({
      found: [],
      error: null,
      isRunning: text !== null,
      seconds: 0,
    }),
  );
  const [ended, setEnded] = useState(/** @type {AbortController | null} */ (null));
  useEffect(() => {
    setState({ found: [], error: null, isRunning: text !== null, seconds: 0 });
    if (text === null) {
      return undefined;
    }
    const mine = new AbortController();
    setEnded(mine);
    const startedAt = performance.now();
    /** @type {Traced[]} */
    const found = [];
    const tell = (isRunning = true, error = /** @type {unknown} */ (null)) =>
      setState({
        found: [...found],
        error,
        isRunning,
        seconds: Math.round((performance.now() - startedAt) / 1_000),
      });
    const timer = setInterval(tell, 500);
    collect(text, found, mine.signal)
      .then(
        () => tell(false),
        (error) => tell(false, mine.signal.aborted ? null : error),
      )
      .finally(() => clearInterval(timer));
    return () => {
      clearInterval(timer);
      mine.abort();
    };
  }, [text, round]);
  return { ...state, cancel: () => ended?.abort(), retry: () => setRound(round + 1) };
}

/**
 * @param {string} text
 * @param {Traced[]} found
 * @param {AbortSignal} signal
 */
async function collect(text, found, signal) {
  for await (const { row } of query(text, { signal })) {
    found.push(row.value ?? row);
  }
}
