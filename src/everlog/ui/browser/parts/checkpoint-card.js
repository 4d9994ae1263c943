/** The last checkpoint: what was signed, by whom and when, and what witnesses do. */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import { ApiError, ROOT } from "../api.js";
import { base64Of, describeSignature, readKey, verifySignature } from "../model/merkle.js";
import { kept } from "../preferences.js";
import * as server from "../server.js";
import { Badge, CopyButton, Download, ErrorBox, Field, Loading, Notice } from "./basics.js";

/**
 * Verifier keys that the person has given, one a line. They are public.
 * @type {import("@preact/signals").Signal<string>}
 */
export const keys = kept(`everlog.verifier-keys ${ROOT.pathname}`, "");

/** @typedef {import("../model/merkle.js").Checkpoint} Checkpoint */
/** @typedef {import("../pages/integrity.js").Latest} Latest */

/**
 * What came of verifying by one key.
 * @typedef {{key: string, name: string, state: "verified" | "absent" | "unsupported" | "refused",
 *   reason: string}} Judged
 */

/**
 * @param {string} text verifier keys, one a line
 * @param {Checkpoint} checkpoint
 * @returns {Promise<Judged[]>}
 */
export async function judgedBy(text, checkpoint) {
  const judged = [];
  for (const key of text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)) {
    const name = key.split("+").slice(0, 2).join("+");
    try {
      const read = await readKey(key);
      judged.push({
        key,
        name: `${read.name}+${read.id}`,
        state: await verifySignature(checkpoint, read),
        reason: "",
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      judged.push({ key, name, state: /** @type {const} */ ("refused"), reason });
    }
  }
  return judged;
}

/** @param {{latest: Latest | null, onReload: () => void}} props */
export function CheckpointCard({ latest, onReload }) {
  return html`<section class="card" aria-label="Checkpoint">
    <header><h2>Last checkpoint</h2><span class="end"><button type="button" class="small" onClick=${onReload}>Look again</button></span></header>
    ${latest === null ? html`<${Loading} />` : "error" in latest ? html`<${None} error=${latest.error} />` : html`<${Signed} note=${latest.note} checkpoint=${latest.checkpoint} />`}
    <${Witnesses} />
  </section>`;
}

/** @param {{error: Error}} props */
function None({ error }) {
  const isAbsent = error instanceof ApiError && error.status === 503;
  return isAbsent
    ? html`<p class="muted">${error.message}</p>
        <p class="muted small">A checkpoint is the size and root of the log, signed: a promise that it cannot take back. Proofs of events can be had without one.</p>`
    : html`<${ErrorBox} error=${error} title="There is no checkpoint to read." />`;
}

/** @param {{note: string, checkpoint: Checkpoint}} props */
function Signed({ note, checkpoint }) {
  const [judged, setJudged] = useState(/** @type {Judged[]} */ ([]));
  const text = keys.value;
  useEffect(() => {
    let isCurrent = true;
    judgedBy(text, checkpoint).then((found) => isCurrent && setJudged(found));
    return () => {
      isCurrent = false;
    };
  }, [text, checkpoint]);
  const stateOf = (/** @type {string} */ name) => judged.find((each) => each.name === name);
  return html`<dl class="facts">
      <dt>Log</dt><dd class="mono">${checkpoint.origin}</dd>
      <dt>Size</dt><dd>${checkpoint.size.toLocaleString("en")} events</dd>
      <dt>Root</dt><dd class="mono">${base64Of(checkpoint.root)}</dd>
    </dl>
    <ul class="signatures" aria-label="Signatures">
      ${checkpoint.signatures.map((signature) => {
        const { label, isWitness, time } = describeSignature(signature, checkpoint.origin);
        const name = `${signature.name}+${signature.id}`;
        return html`<li key=${name}>
          <div class="row"><code class="any">${name}</code><${State} judged=${stateOf(name)} /></div>
          <span class="small muted">${isWitness ? "witness" : "log"}, ${label}${time === null ? "" : `, ${new Date(time * 1000).toISOString().replace(".000Z", "Z")}`}</span></li>`;
      })}
    </ul>
    ${judged
      .filter(({ state }) => state === "refused")
      .map(
        ({ name, reason }) =>
          html`<${Notice} kind="bad" title="Refused." key=${name}><code class="any">${name}</code>: ${reason}<//>`,
      )}
    ${judged
      .filter(({ state }) => state === "absent")
      .map(
        ({ name }) =>
          html`<${Notice} kind="warning" key=${name}><code class="any">${name}</code> has not signed it.<//>`,
      )}
    <${Field} label="Verifier keys" hint="One a line, as everlog generate prints them. Take them from whoever runs the log on a way that you trust, not from this server. This browser keeps them.">
      ${(
        /** @type {any} */ attributes,
      ) => html`<textarea ...${attributes} rows="2" spellcheck="false" placeholder="log.example.com/orders+27f9dfee+AR…" value=${text}
        onInput=${(/** @type {any} */ event) => {
          keys.value = event.target.value;
        }}></textarea>`}<//>
    <div class="row">
      <${CopyButton} text=${note} label="Copy checkpoint" />
      <${Download} name="checkpoint.txt" type="text/plain" label="checkpoint.txt" make=${() => note} />
    </div>`;
}

/** @param {{judged: Judged | undefined}} props */
function State({ judged }) {
  if (judged === undefined) {
    return html`<${Badge} title="No key was given for it">not verified<//>`;
  }
  if (judged.state === "verified") {
    return html`<${Badge} kind="good" dot>verified<//>`;
  }
  if (judged.state === "unsupported") {
    return html`<${Badge} kind="warning" title="This browser knows no such signatures; everlog verify does">not by a browser<//>`;
  }
  return html`<${Badge} kind="bad" dot>refused<//>`;
}

const KINDS = /** @type {Record<string, "good" | "warning" | "bad" | "plain">} */ ({
  cosigning: "good",
  failing: "warning",
  contradicting: "bad",
  unasked: "plain",
});

/** What each witness does, as the server's metrics say it. */
function Witnesses() {
  const found = [...(server.metrics.value ?? [])].flatMap(([name, value]) => {
    const [, labels] = /^everlog_witness_state\{(.*)\}$/.exec(name) ?? [];
    const witness = /(?:^|,)witness="([^"]*)"/.exec(labels ?? "")?.[1];
    const state = /everlog_witness_state="([^"]*)"/.exec(labels ?? "")?.[1];
    return value === 1 && witness !== undefined && state !== undefined ? [{ witness, state }] : [];
  });
  if (found.length === 0) {
    return null;
  }
  return html`<h3>Witnesses</h3>
    <ul class="signatures" aria-label="Witnesses">${found.map(
      ({ witness, state }) =>
        html`<li key=${witness} class="row"><code class="any">${witness}</code><${Badge} kind=${KINDS[state] ?? "plain"} dot>${state}<//></li>`,
    )}</ul>`;
}
