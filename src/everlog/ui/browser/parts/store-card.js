/** The server reads again all that it has stored, and says what is not as it was written. */

import { html } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { ErrorBox, Notice } from "./basics.js";

/**
 * @typedef {{state: "running" | "done" | "cancelled" | "failed", startedAt: number, ms: number,
 *   errors: string[], warnings: string[], error: unknown}} Audit
 */

export function StoreCard() {
  const [audit, setAudit] = useState(/** @type {Audit | null} */ (null));
  const ended = useRef(new AbortController());
  useEffect(() => () => ended.current.abort(), []);
  const start = async () => {
    const mine = new AbortController();
    ended.current = mine;
    const startedAt = performance.now();
    /** @type {Audit} */
    const now = { state: "running", startedAt, ms: 0, errors: [], warnings: [], error: null };
    const tell = (/** @type {Partial<Audit>} */ changes) => {
      Object.assign(now, changes, { ms: performance.now() - startedAt });
      setAudit({ ...now });
    };
    tell({});
    try {
      const path = "api/v2/management/verify-store";
      // A heartbeat comes each second.
      const options = { signal: mine.signal, onLine: () => tell({}) };
      for await (const { payload } of api.stream("POST", path, undefined, options)) {
        tell({
          errors: [...now.errors, ...payload.errors],
          warnings: [...now.warnings, ...payload.warnings],
        });
      }
      tell({ state: "done" });
    } catch (error) {
      tell(mine.signal.aborted ? { state: "cancelled" } : { state: "failed", error });
    }
  };
  const isRunning = audit?.state === "running";
  return html`<section class="card" aria-label="Stored data">
    <header><h2>Stored data</h2></header>
    <p class="muted small">The server reads again all that it has stored: events, their hashes and places, event schemas, and the index. It takes a processor only while nobody else needs it.</p>
    <div class="row">
      ${
        isRunning
          ? html`<button type="button" onClick=${() => ended.current.abort()}>Cancel</button>
              <span class="row small muted" role="status"><span class="spinner" aria-hidden="true"></span>Reading for ${seconds(audit.ms)}</span>`
          : html`<button type="button" class="primary" onClick=${start}>Verify the store</button>`
      }
    </div>
    ${audit === null || isRunning ? null : html`<${Outcome} audit=${audit} />`}
  </section>`;
}

/** @param {{audit: Audit}} props */
function Outcome({ audit: { state, ms, errors, warnings, error } }) {
  const isSound = state === "done" && errors.length === 0;
  return html`
    ${state === "cancelled" ? html`<${Notice}>Cancelled after ${seconds(ms)}.<//>` : null}
    ${state === "failed" ? html`<${ErrorBox} error=${error} title="The store could not be verified to its end." />` : null}
    ${isSound ? html`<${Notice} kind="good" title="The store is sound.">All that is stored is as it was written; it took ${seconds(ms)}.<//>` : null}
    ${errors.length > 0 ? html`<${Notice} kind="bad" title="The store is not as it was written.">Stop writing, keep a copy of the directory, and see the manual about audits.<//>` : null}
    ${[
      ["Errors", errors],
      ["Warnings", warnings],
    ].map(([name, all]) =>
      all.length === 0
        ? null
        : html`<div key=${name}><h3>${name}</h3>
            <ul class="findings" tabindex="0" aria-label=${name}>${/** @type {string[]} */ (all).map((each, at) => html`<li key=${at} class="any mono">${each}</li>`)}</ul></div>`,
    )}`;
}

/** @param {number} ms */
function seconds(ms) {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}
