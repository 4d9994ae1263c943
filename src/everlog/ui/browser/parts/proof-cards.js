/** Proofs: that an event is in the log, and that the log only grew; verified here, and as files. */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { checkEvent } from "../model/chain.js";
import {
  bytesOf,
  checkConsistency,
  checkInclusion,
  isSame,
  leafHash,
  ProofError,
  readCheckpoint,
} from "../model/merkle.js";
import { changed, go, route } from "../router.js";
import { Code, Download, ErrorBox, Field, Notice } from "./basics.js";
import { judgedBy, keys } from "./checkpoint-card.js";

/** @typedef {import("../pages/integrity.js").Latest} Latest */

/**
 * @typedef {{event: api.EventItem, proof: any, proofText: string, note: string | null,
 *   size: bigint, checkpoint: import("../model/merkle.js").Checkpoint | null}} Proven
 */

/** @param {{event: string, latest: Latest | null}} props */
export function ProofCard({ event: given, latest }) {
  const [id, setId] = useState(given);
  const [proven, setProven] = useState(/** @type {Proven | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [isBusy, setBusy] = useState(false);

  const prove = async (/** @type {string} */ wanted) => {
    setBusy(true);
    setProven(null);
    setError(null);
    try {
      setProven(await inclusion(wanted, latest));
    } catch (reason) {
      setError(reason);
    } finally {
      setBusy(false);
    }
  };
  // A link names the event; what the checkpoint is has to be known first.
  useEffect(() => {
    if (given !== "" && latest !== null) {
      prove(given);
    }
  }, [given, latest === null]);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (id === given) {
      prove(id);
    } else {
      go("integrity", changed(route.value.params, { event: id }), { replace: true });
    }
  };
  return html`<section class="card" aria-label="Proof of an event">
    <header><h2>Proof of an event</h2></header>
    <p class="muted small">A few hundred bytes that show to anybody, without this server, that an event is in the log, in its place, as it is.</p>
    <form class="row range" onSubmit=${submit}>
      <${Field} label="Event" class="grow">
        ${(/** @type {any} */ attributes) => html`<input ...${attributes} class="mono" inputmode="numeric" value=${id} onInput=${(/** @type {any} */ event) => setId(event.target.value.trim())} />`}<//>
      <button type="submit" disabled=${isBusy || latest === null || !/^\d{1,19}$/.test(id)}>Prove</button>
    </form>
    ${error === null ? null : html`<${ErrorBox} error=${error} title="It is not proven." />`}
    ${proven === null ? null : html`<${Proof} proven=${proven} />`}
  </section>`;
}

/**
 * @param {string} id
 * @param {Latest | null} latest
 * @returns {Promise<Proven>}
 */
async function inclusion(id, latest) {
  const signed =
    latest !== null && "checkpoint" in latest && BigInt(id) < latest.checkpoint.size
      ? latest
      : null;
  const event = await read(id);
  const size = signed === null ? "" : `&size=${signed.checkpoint.size}`;
  const proofText = await api.text("GET", `api/v2/log/inclusion-proof?event=${id}${size}`);
  const proof = JSON.parse(proofText);
  if (proof.type === "error") {
    throw new api.ApiError(proof.data.description, {
      code: proof.data.code,
      text: proof.data.description,
    });
  }
  const link = await checkEvent(event.text);
  if (link.id !== id || link.hash !== proof.hash || proof.event !== id) {
    throw new ProofError("the proof is of another event");
  }
  const root = signed === null ? bytesOf(proof.root, "the root") : signed.checkpoint.root;
  const total = BigInt(signed === null ? proof.size : signed.checkpoint.size);
  const hashes = proof.proof.map((/** @type {string} */ hash) =>
    bytesOf(hash, "a hash of the proof"),
  );
  await checkInclusion(BigInt(id), total, await leafHash(link.hash), hashes, root);
  return {
    event,
    proof,
    proofText,
    note: signed?.note ?? null,
    size: total,
    checkpoint: signed?.checkpoint ?? null,
  };
}

/** @param {string} id */
async function read(id) {
  const bound = { id, type: /** @type {const} */ ("inclusive") };
  for await (const event of api.events({
    subject: "/",
    recursive: true,
    lowerBound: bound,
    upperBound: bound,
  })) {
    return event;
  }
  throw new api.ApiError(`There is no event with the id ${id}.`);
}

/** @param {{proven: Proven}} props */
function Proof({ proven: { event, proof, proofText, note, size, checkpoint } }) {
  const where =
    checkpoint === null ? "the log, whose root nobody has signed" : `the log ${checkpoint.origin}`;
  const [judged, setJudged] = useState(/** @type {import("./checkpoint-card.js").Judged[]} */ ([]));
  const text = keys.value;
  useEffect(() => {
    let isCurrent = true;
    if (checkpoint !== null) {
      judgedBy(text, checkpoint).then((found) => isCurrent && setJudged(found));
    }
    return () => {
      isCurrent = false;
    };
  }, [text, checkpoint]);
  const refused = judged.find(({ state }) => state === "refused");
  const signers = judged.filter(({ state }) => state === "verified").map(({ name }) => name);
  if (refused !== undefined) {
    return html`<${Notice} kind="bad" title="It is not proven.">The checkpoint: ${refused.reason}.<//>`;
  }
  const command = `everlog verify --event event-${event.id}.json --proof inclusion-proof-${event.id}.json \\\n  --checkpoint checkpoint.txt --key "$(cat verifier-keys)"`;
  return html`<${Notice} kind=${note === null ? "accent" : "good"} title="Event ${event.id} is proven.">
      It is number ${(BigInt(event.id) + 1n).toLocaleString("en")} of the first ${size.toLocaleString("en")} events of ${where}, and its content has the hash that it says.${" "}
      ${note === null ? "" : signers.length > 0 ? `Signed by ${signers.join(", ")}.` : "Give a verifier key to see who signed it."}<//>
    <dl class="facts"><dt>Hash</dt><dd class="mono">${proof.hash}</dd><dt>Root</dt><dd class="mono">${proof.root}</dd><dt>Steps</dt><dd>${proof.proof.length} hashes</dd></dl>
    <div class="row" role="group" aria-label="Files of the proof">
      <${Download} name="event-${event.id}.json" type="application/json" label="event-${event.id}.json" make=${() => `${event.text}\n`} />
      <${Download} name="inclusion-proof-${event.id}.json" type="application/json" label="inclusion-proof-${event.id}.json" make=${() => proofText} />
      ${note === null ? null : html`<${Download} name="checkpoint.txt" type="text/plain" label="checkpoint.txt" make=${() => note} />`}
    </div>
    ${note === null ? html`<p class="muted small">Without a checkpoint nobody has signed the root; everlog verify asks for one.</p>` : html`<details><summary>How anybody verifies it</summary><${Code} text=${command} label="Copy command" /></details>`}`;
}

/** @param {{latest: Latest | null}} props */
export function GrowthCard({ latest }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(
    /** @type {{size: bigint, proofText: string, earlier: string} | null} */ (null),
  );
  const [error, setError] = useState(/** @type {unknown} */ (null));
  if (latest === null || "error" in latest) {
    return null;
  }
  const compare = async (/** @type {string} */ note) => {
    setError(null);
    setFound(null);
    try {
      setFound(await growth(note, latest.checkpoint));
    } catch (reason) {
      setError(reason);
    }
  };
  const take = async (/** @type {any} */ event) => {
    const file = event.target.files?.[0];
    if (file !== undefined && file.size < 1024 * 1024) {
      const note = await file.text();
      setText(note);
      await compare(note);
    }
  };
  return html`<section class="card" aria-label="That the log only grew">
    <header><h2>That the log only grew</h2></header>
    <p class="muted small">Give a checkpoint that you kept: this browser verifies that the log of then is the beginning of the one of now.</p>
    <${Field} label="A checkpoint of before">
      ${(/** @type {any} */ attributes) => html`<textarea ...${attributes} rows="3" spellcheck="false" value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)}></textarea>`}<//>
    <div class="row">
      <button type="button" disabled=${text.trim() === ""} onClick=${() => compare(text)}>Compare</button>
      <label class="button">Choose a file<input class="visually-hidden" type="file" accept=".txt,text/plain" onChange=${take} /></label>
    </div>
    ${error === null ? null : html`<${ErrorBox} error=${error} title="It is not shown that the log only grew." />`}
    ${
      found === null
        ? null
        : html`<${Notice} kind="good" title="The log only grew.">The first ${found.size.toLocaleString("en")} events are still what they were; by now there are ${latest.checkpoint.size.toLocaleString("en")}.<//>
      <div class="row"><${Download} name="consistency-proof.json" type="application/json" label="consistency-proof.json" make=${() => found.proofText} /></div>`
    }
  </section>`;
}

/**
 * @param {string} note
 * @param {import("../model/merkle.js").Checkpoint} now
 */
async function growth(note, now) {
  // What was pasted may have lost its last line feed.
  const earlier = readCheckpoint(note.endsWith("\n") ? note : `${note}\n`);
  if (earlier.origin !== now.origin) {
    throw new ProofError(`it is of another log: ${earlier.origin}`);
  }
  for (const { state, reason } of await judgedBy(keys.value, earlier)) {
    if (state === "refused") {
      throw new ProofError(`the checkpoint of before: ${reason}`);
    }
  }
  const proofText = await api.text(
    "GET",
    `api/v2/log/consistency-proof?from=${earlier.size}&to=${now.size}`,
  );
  const proof = JSON.parse(proofText);
  if (proof.type === "error") {
    throw new ProofError(proof.data.description);
  }
  const hashes = proof.proof.map((/** @type {string} */ hash) =>
    bytesOf(hash, "a hash of the proof"),
  );
  if (!isSame(bytesOf(proof.fromRoot, "the root"), earlier.root)) {
    throw new ProofError(
      `the first ${earlier.size} events have another root than that checkpoint says: keep both`,
    );
  }
  await checkConsistency(earlier.size, now.size, earlier.root, now.root, hashes);
  return { size: earlier.size, proofText, earlier: note };
}
