/** The chain of a range of events, computed in this browser as they come. */

import { html } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { ChainCheck, ChainError, canHash, verifyChain } from "../model/chain.js";
import { GrowingRoot, isSame } from "../model/merkle.js";
import { changed, go, link } from "../router.js";
import * as server from "../server.js";
import { ErrorBox, Field, Notice } from "./basics.js";

/**
 * `root` is that of the checkpoint's tree as it was computed here, null where it was not.
 * @typedef {{state: "running" | "done" | "cancelled" | "failed", check: ChainCheck, total: number,
 *   error: unknown, isRootRight: boolean | null, ms: number}} Progress
 */

const LATEST = 1_000n;

/** @param {{params: URLSearchParams, latest: import("../pages/integrity.js").Latest | null}} props */
export function ChainCard({ params, latest }) {
  const lastId = server.health.value?.checks?.["log:lastEventId"]?.[0]?.observedValue ?? null;
  const [from, setFrom] = useState(params.get("from") ?? "");
  const [to, setTo] = useState(params.get("to") ?? "");
  const [fault, setFault] = useState(/** @type {string | null} */ (null));
  const [progress, setProgress] = useState(/** @type {Progress | null} */ (null));
  const ended = useRef(new AbortController());
  useEffect(() => () => ended.current.abort(), []);

  /**
   * @param {string} first
   * @param {string} last
   */
  const start = async (first, last) => {
    const wrong = [first, last].some((text) => !/^\d{0,19}$/.test(text))
      ? "An id is a number."
      : first !== "" && last !== "" && BigInt(first) > BigInt(last)
        ? "The range ends before it begins."
        : null;
    setFault(wrong);
    if (wrong !== null) {
      return;
    }
    setFrom(first);
    setTo(last);
    go("integrity", changed(params, { from: first, to: last }), { replace: true });
    ended.current.abort();
    const mine = new AbortController();
    ended.current = mine;
    const checkpoint = latest !== null && "checkpoint" in latest ? latest.checkpoint : null;
    await run(first, last, lastId, checkpoint, mine.signal, (next) => {
      if (ended.current === mine) {
        setProgress(next);
      }
    });
  };
  const input = (
    /** @type {string} */ label,
    /** @type {string} */ value,
    /** @type {(text: string) => void} */ set,
    /** @type {string} */ hint,
  ) => html`
    <${Field} label=${label} hint=${hint} class="grow" fault=${label === "From event" ? fault : null}>
      ${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} class="mono" inputmode="numeric" value=${value}
        onInput=${(/** @type {any} */ event) => set(event.target.value.trim())} />`}<//>`;
  const isRunning = progress?.state === "running";
  const isReady = canHash() && lastId !== null;
  const beginning =
    lastId === null ? "" : String(BigInt(lastId) >= LATEST ? BigInt(lastId) - LATEST + 1n : 0n);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    start(from, to);
  };
  return html`<section class="card" aria-label="Hash chain">
    <header><h2>Hash chain</h2></header>
    <p class="muted small">Each event names the hash of the one before it. This browser computes every hash anew from what the server sends, so that you need not believe the server.</p>
    <form class="row range" onSubmit=${submit}>
      ${input("From event", from, setFrom, "Empty: the first one")}
      ${input("To event", to, setTo, lastId === null ? "Empty: the last one" : `Empty: the last one, ${lastId}`)}
      ${
        isRunning
          ? html`<button type="button" onClick=${() => ended.current.abort()}>Cancel</button>`
          : html`<button type="submit" class="primary" disabled=${!isReady}>Verify</button>`
      }
    </form>
    <div class="row">
      <button type="button" class="small" disabled=${!isReady || isRunning} onClick=${() => start(beginning, "")}>The latest ${String(LATEST)}</button>
      <button type="button" class="small" disabled=${!isReady || isRunning} onClick=${() => start("", "")}>The whole log</button>
    </div>
    ${lastId === null && server.health.value !== null ? html`<p class="muted">There is no event yet.</p>` : null}
    ${progress === null ? null : html`<${Shown} progress=${progress} />`}
  </section>`;
}

/**
 * @param {string} from
 * @param {string} to
 * @param {string | null} lastId
 * @param {import("../model/merkle.js").Checkpoint | null} checkpoint
 * @param {AbortSignal} signal
 * @param {(progress: Progress) => void} onProgress
 */
async function run(from, to, lastId, checkpoint, signal, onProgress) {
  const startedAt = performance.now();
  const check = new ChainCheck();
  const first = from === "" ? 0n : BigInt(from);
  const last = to === "" ? BigInt(lastId ?? "0") : BigInt(to);
  const total = Number(last - first + 1n);
  // From the first event on, the root of the tree that was signed can be computed, too.
  const tree =
    first === 0n && checkpoint !== null && checkpoint.size <= last + 1n ? new GrowingRoot() : null;
  /** @type {boolean | null} */
  let isRootRight = null;
  const told = (/** @type {Progress["state"]} */ state, /** @type {unknown} */ error = null) =>
    onProgress({ state, check, total, error, isRootRight, ms: performance.now() - startedAt });
  told("running");
  /** @type {api.Selection} */
  const selection = {
    subject: "/",
    recursive: true,
    order: "chronological",
    lowerBound: { id: String(first), type: "inclusive" },
    upperBound: { id: String(last), type: "inclusive" },
  };
  const onLink = async (/** @type {{hash: string}} */ { hash }) => {
    if (tree !== null && checkpoint !== null && BigInt(tree.size) < checkpoint.size) {
      await tree.add(hash);
    }
  };
  try {
    const events = api.events(selection, { signal });
    await verifyChain(events, { check, onLink, signal, onProgress: () => told("running") });
    if (check.first !== null && BigInt(check.first.id) !== first) {
      throw new ChainError(`the server left out event ${first}`, check.first.id);
    }
    if (tree !== null && checkpoint !== null && BigInt(tree.size) === checkpoint.size) {
      isRootRight = isSame(await tree.root(), checkpoint.root);
    }
    told("done");
  } catch (error) {
    if (signal.aborted) {
      told("cancelled");
    } else {
      told("failed", error);
    }
  }
}

/** @param {{progress: Progress}} props */
function Shown({ progress }) {
  const { state, check, total, error, isRootRight, ms } = progress;
  const whole = (/** @type {number} */ count) => count.toLocaleString("en");
  if (state === "running") {
    return html`<div class="stack tight" role="status">
      <progress class="wide" max=${Math.max(total, 1)} value=${check.count} aria-label="Verified"></progress>
      <span class="small muted">${whole(check.count)} of ${whole(total)} events</span></div>`;
  }
  if (state === "cancelled") {
    return html`<${Notice}>Cancelled after ${whole(check.count)} events, which are as they were written.<//>`;
  }
  if (error instanceof ChainError) {
    const id = error.id;
    const actions =
      id === undefined
        ? null
        : html`<a class="button small" href=${link("event", { id })}>Open event ${id}</a>`;
    return html`<${Notice} kind="bad" title="The chain is broken." actions=${actions}>
      ${capital(error.message)}. The ${whole(check.count)} events before are right.<//>`;
  }
  if (state === "failed") {
    return html`<${ErrorBox} error=${error} title="The chain could not be verified to its end." />`;
  }
  if (check.first === null || check.last === null) {
    return html`<${Notice} kind="warning">There is no event in this range.<//>`;
  }
  const uncovered = [...check.uncovered].filter((name) => name !== "signature");
  return html`<${Notice} kind="good" title="The chain is whole.">${whole(check.count)} ${check.count === 1 ? "event has" : "events have"} the content that their hashes say, and each names the one before it.<//>
    ${isRootRight === false ? html`<${Notice} kind="bad" title="The checkpoint is of another log.">Its root is not that of these events: keep both.<//>` : null}
    <dl class="facts">
      <dt>Events</dt><dd><a href=${link("event", { id: check.first.id })}>${check.first.id}</a> to <a href=${link("event", { id: check.last.id })}>${check.last.id}</a>, in ${(ms / 1000).toFixed(1)} s</dd>
      <dt>Hash of the last</dt><dd class="mono">${check.last.hash}</dd>
      <dt>Versions</dt><dd>${[1, 2]
        .map((version) => [version, check.countByVersion[/** @type {1} */ (version)]])
        .filter(([, count]) => count > 0)
        .map(([version, count]) => `version ${version}: ${whole(count)}`)
        .join(", ")}</dd>
      ${isRootRight === true ? html`<dt>Checkpoint</dt><dd>Its root is that of these events</dd>` : null}
      ${uncovered.length > 0 ? html`<dt>Not covered</dt><dd>${uncovered.join(", ")}: hashes of version 1 leave them out</dd>` : null}
    </dl>`;
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
