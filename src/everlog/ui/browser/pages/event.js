/** One event: its data, what is around it, its place in the chain, and proof that it is there. */

import { html } from "everlog/html";
import { json, ROOT } from "../api.js";
import { size, whole } from "../model/amounts.js";
import { canHash, checkEvent } from "../model/chain.js";
import { curl } from "../model/curl.js";
import { indented } from "../model/json-text.js";
import { bytesOf, checkInclusion, leafHash } from "../model/merkle.js";
import { useAnswer } from "../parts/answer.js";
import { Asked, readCommand } from "../parts/asked.js";
import {
  Badge,
  CopyButton,
  Download,
  Empty,
  ErrorBox,
  Loading,
  Notice,
  Tabs,
  Time,
} from "../parts/basics.js";
import { Icon } from "../parts/icons.js";
import { JsonTree, Letters } from "../parts/json-tree.js";
import { useKeys } from "../parts/keys.js";
import { readBeside, readEvent, traceIn } from "../parts/reading.js";
import { SubjectPath } from "../parts/subject.js";
import { changed, go, link } from "../router.js";
import { canWrite } from "../server.js";

export const title = "Event";

/** @typedef {import("../api.js").EventItem} EventItem */

const TABS = [
  { key: "data", label: "Data" },
  { key: "raw", label: "As stored" },
  { key: "chain", label: "Chain and proof" },
];

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const id = params.get("id") ?? "";
  const found = useAnswer((signal) => readAround(id, signal), [id]);
  if (found.error !== null) {
    return html`<${ErrorBox} error=${found.error} retry=${found.retry} />`;
  }
  if (found.value === null) {
    return html`<${Loading} label="Reading the event" />`;
  }
  const { event, previous, next } = found.value;
  if (event === null) {
    return html`<div class="card"><${Empty} title="There is no event ${id}">
      <p>Ids count from 0 without gaps; the log does not reach this one yet.</p>
      <div class="row"><button type="button" onClick=${found.retry}>Look again</button>
        <a class="button" href=${link("events")}>Newest events</a></div><//></div>`;
  }
  // While another one is on its way, the last one stays.
  return html`<${Shown} event=${event} previous=${previous} next=${next} params=${params}
    isStale=${found.isLoading} />`;
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 */
async function readAround(id, signal) {
  const event = await readEvent(id, signal);
  if (event === null) {
    return { event, previous: null, next: null };
  }
  const [previous, next] = await Promise.all([
    readBeside(event, "before", signal),
    readBeside(event, "behind", signal),
  ]);
  return { event, previous, next };
}

/**
 * @param {{event: EventItem, previous: EventItem | null, next: EventItem | null,
 *   params: URLSearchParams, isStale: boolean}} props
 */
function Shown({ event, previous, next, params, isStale }) {
  const tab = TABS.some(({ key }) => key === params.get("tab"))
    ? String(params.get("tab"))
    : "data";
  const at = (/** @type {bigint | string} */ id) =>
    link("event", { id: String(id), tab: tab === "data" ? null : tab });
  const number = BigInt(event.id);
  const before = number > 0n ? at(number - 1n) : null;
  const behind = at(number + 1n);
  const trace = traceIn(event.traceparent);
  const visit = (/** @type {string | null} */ href) => {
    if (href !== null) {
      location.hash = href;
    }
  };
  useKeys([
    { keys: "[", label: "Previous event of the log", run: () => visit(before) },
    { keys: "]", label: "Next event of the log", run: () => visit(behind) },
    {
      keys: "{",
      label: "Previous event of the subject",
      run: () => visit(previous && at(previous.id)),
    },
    { keys: "}", label: "Next event of the subject", run: () => visit(next && at(next.id)) },
  ]);
  return html`<div class="row between">
      <${Beside} name="Log" before=${before} behind=${behind}
        titles=${["Previous event of the log", "Next event of the log"]} />
      <${Beside} name="Subject" before=${previous && at(previous.id)} behind=${next && at(next.id)}
        titles=${["Previous event of the subject", "Next event of the subject"]} />
      <div class="row end">
        ${
          previous === null
            ? null
            : html`<a class="button"
          href=${link("compare", { left: previous.id, right: event.id })}><${Icon}
          name="compare" />Compare with previous</a>`
        }
        <a class="button" href=${link("history", { subject: event.subject, step: event.id })}>
          <${Icon} name="trace" />History</a>
        ${
          canWrite.value
            ? html`<a class="button" href=${link("write", { like: event.id })}><${Icon}
          name="write" />Another like this</a>`
            : null
        }
      </div>
    </div>
    <section class="card event ${isStale ? "stale" : ""}" aria-label="Event ${event.id}">
      <header class="event-head"><span class="badge accent mono">${event.id}</span>
        <h2 class="mono any"><a href=${link("events", { type: event.type })}>${event.type}</a>
          </h2></header>
      <dl class="facts">
        <dt>Subject</dt><dd><${SubjectPath} subject=${event.subject} /></dd>
        <dt>Time</dt><dd><${Time} value=${event.time} /></dd>
        <dt>Source</dt><dd class="mono any"><${Letters} text=${event.source} /></dd>
        ${
          event.traceparent
            ? html`<dt>Trace</dt><dd class="mono any">${
                trace === null
                  ? event.traceparent
                  : html`<a
              href=${link("trace", { trace, near: event.id })}>${event.traceparent}</a>`
              }</dd>`
            : null
        }
        ${
          event.tracestate
            ? html`<dt>Trace state</dt><dd class="mono any">${event.tracestate}
          </dd>`
            : null
        }
        <dt>Form</dt><dd class="mono">CloudEvents ${event.specversion}, ${event.datacontenttype}
          </dd>
      </dl>
    </section>
    <section class="card" aria-label="What it holds">
      <${Tabs} tabs=${TABS} selected=${tab} label="What it holds"
        onSelect=${(/** @type {string} */ key) =>
          go("event", changed(params, { tab: key === "data" ? null : key }), { replace: true })}>
        ${tab === "data" ? html`<${Data} event=${event} />` : null}
        ${tab === "raw" ? html`<${Stored} event=${event} />` : null}
        ${tab === "chain" ? html`<${Chain} key=${event.id} event=${event} />` : null}
      <//>
    </section>
    <details class="behind"><summary>The same as EventQL, and with curl</summary>
      <${Asked} query=${`FROM e IN events\nWHERE e.id == '${event.id}'\nPROJECT INTO e`}
        curl=${readCommand({
          subject: "/",
          recursive: true,
          lowerBound: { id: event.id, type: "inclusive" },
          upperBound: { id: event.id, type: "inclusive" },
        })} />
    </details>`;
}

/**
 * @param {{name: string, before: string | null, behind: string | null,
 *   titles: [string, string]}} props
 */
function Beside({ name, before, behind, titles }) {
  const way = (
    /** @type {string | null} */ href,
    /** @type {string} */ text,
    /** @type {string} */ icon,
  ) =>
    href === null
      ? html`<button type="button" class="icon" disabled aria-label=${text} title=${text}><${Icon}
        name=${icon} /></button>`
      : html`<a class="button icon" href=${href} aria-label=${text} title=${text}><${Icon}
        name=${icon} /></a>`;
  return html`<div class="row fixed"><span class="muted small">${name}</span>
    <div class="group" role="group" aria-label=${name}>
      ${way(before, titles[0], "previous")}${way(behind, titles[1], "next")}</div></div>`;
}

/** @param {{event: EventItem}} props */
function Data({ event }) {
  return html`<div class="row"><span class="muted small">
    ${size(new TextEncoder().encode(event.raw).length)}; numbers as stored</span>
      <span class="end"></span><${CopyButton} text=${() => indented(event.raw)} label="Copy data" />
      <${Download} name=${`event-${event.id}-data.json`} type="application/json"
        make=${() => event.raw} /></div>
    <${JsonTree} text=${event.raw} label="Data of event ${event.id}" />`;
}

/** @param {{event: EventItem}} props */
function Stored({ event }) {
  return html`<div class="row"><span
    class="muted small">The event as the server sent it, byte by byte: ${size(
      new TextEncoder().encode(event.text).length,
    )}
    </span>
      <span class="end"></span><${CopyButton} text=${event.text} label="Copy event" />
      <${Download} name=${`event-${event.id}.json`} type="application/json"
        make=${() => event.text} /></div>
    <pre class="code stored" tabindex="0" aria-label="Event ${event.id} as stored" dir="ltr">
      ${event.text}</pre>`;
}

/** @param {{event: EventItem}} props */
function Chain({ event }) {
  const chain = useAnswer((signal) => examine(event, signal), [event.id]);
  const proof = useAnswer((signal) => prove(event, signal), [event.id]);
  const url = String(new URL(`api/v2/log/inclusion-proof?event=${event.id}`, ROOT));
  return html`<dl class="facts">
      <dt>Hash</dt><dd class="row"><span class="mono any grow">${event.hash}</span><${CopyButton}
        text=${event.hash} label="Copy hash" iconOnly /></dd>
      <dt>Follows</dt><dd><div class="mono any">${event.predecessorhash}</div>${
        event.id === "0"
          ? html`<span class="muted small">The first event follows nothing.</span>`
          : html`<a href=${link("event", { id: `${BigInt(event.id) - 1n}`, tab: "chain" })}>
              Event${" "}${String(BigInt(event.id) - 1n)}
            </a>`
      }</dd>
      <dt>Signature</dt><dd class="mono any">${
        event.signature ??
        html`<span
        class="muted">None: the server has no signing key.</span>`
      }</dd>
    </dl>
    <div class="stack tight">
      ${
        chain.error !== null
          ? html`<${ErrorBox} error=${chain.error} retry=${chain.retry}
        title="The chain could not be checked." />`
          : null
      }
      ${(chain.value ?? []).map(
        ({ kind, text }) =>
          html`<div class="row fixed top" key=${text}><${Badge} kind=${kind} dot>
            ${kind === "good" ? "Holds" : kind === "bad" ? "Broken" : "Not checked"}<//><span>
            ${text}</span></div>`,
      )}
    </div>
    <h3>Proof that it is in the log</h3>
    ${
      proof.error !== null
        ? html`<${ErrorBox} error=${proof.error} retry=${proof.retry} title="There is no proof." />`
        : proof.value === null
          ? html`<${Loading} label="Asking for a proof" />`
          : html`<${Proof} event=${event} found=${proof.value} url=${url} />`
    }`;
}

/**
 * @param {{event: EventItem, url: string,
 *   found: {answer: any, fault: string | null, isChecked: boolean}}} props
 */
function Proof({ event, found, url }) {
  const { answer, fault, isChecked } = found;
  return html`${
    fault !== null
      ? html`<${Notice} kind="bad" title="The proof does not hold.">${fault}<//>`
      : isChecked
        ? html`<${Notice} kind="good"
          title="Proven in this browser.">The ${whole(answer.proof.length)} hashes lead from the
            event to the root of the tree of
              ${" "}${whole(answer.size)} events. Compare the root with a checkpoint that you
                trust.<//>`
        : html`<${Notice}>This page came over plain HTTP, where browsers do not compute hashes: it
          was not checked here.<//>`
  }
    <dl class="facts">
      <dt>Tree</dt><dd>${whole(answer.size)} events</dd>
      <dt>Root</dt><dd class="mono any">${answer.root}</dd>
      <dt>Proof</dt><dd><ol class="hashes mono any">
        ${answer.proof.map((/** @type {string} */ hash) => html`<li key=${hash}>${hash}</li>`)}</ol>
        ${
          answer.proof.length === 0
            ? html`<span
          class="muted">Empty: the event is the whole tree.</span>`
            : null
        }</dd>
    </dl>
    <div class="row"><${Download} name=${`proof-${event.id}.json`} type="application/json"
      label="Download proof" make=${() => JSON.stringify(answer, null, 2)} />
      <${CopyButton} text=${curl({ method: "GET", url })} label="Copy as curl" />
      <a class="button small" href=${link("integrity")}>Integrity of the log</a></div>`;
}

/** @typedef {{kind: "good" | "bad" | "plain", text: string}} Finding */

/**
 * @param {EventItem} event
 * @param {AbortSignal} signal
 * @returns {Promise<Finding[]>}
 */
async function examine(event, signal) {
  /** @type {Finding[]} */
  const findings = [];
  if (canHash()) {
    try {
      await checkEvent(event.text);
      findings.push({ kind: "good", text: "What it holds has the hash that it says." });
    } catch (error) {
      findings.push({ kind: "bad", text: `${error instanceof Error ? error.message : error}.` });
    }
  } else {
    findings.push({
      kind: "plain",
      text: "Browsers compute hashes only for pages that came over HTTPS, or from this machine.",
    });
  }
  if (event.id !== "0") {
    const id = String(BigInt(event.id) - 1n);
    const before = await readEvent(id, signal);
    const isRight = before?.hash === event.predecessorhash;
    findings.push(
      isRight
        ? { kind: "good", text: `It names the hash of event ${id}, which comes before it.` }
        : { kind: "bad", text: `It does not name the hash of event ${id}, which comes before it.` },
    );
  }
  return findings;
}

/**
 * @param {EventItem} event
 * @param {AbortSignal} signal
 */
async function prove(event, signal) {
  const answer = await json("GET", `api/v2/log/inclusion-proof?event=${event.id}`, undefined, {
    signal,
  });
  if (!canHash()) {
    return { answer, fault: null, isChecked: false };
  }
  try {
    if (answer.hash !== event.hash) {
      return { answer, fault: "It is about another hash than the event has.", isChecked: true };
    }
    const proof = answer.proof.map((/** @type {string} */ hash) =>
      bytesOf(hash, "a hash of the proof"),
    );
    const leaf = await leafHash(answer.hash);
    await checkInclusion(
      BigInt(event.id),
      BigInt(answer.size),
      leaf,
      proof,
      bytesOf(answer.root, "the root"),
    );
    return { answer, fault: null, isChecked: true };
  } catch (error) {
    return {
      answer,
      fault: error instanceof Error ? error.message : String(error),
      isChecked: true,
    };
  }
}
