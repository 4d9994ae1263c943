/**
 * Integrity: that nothing was changed, shown by this browser and not only said by the server.
 *
 * The chain is computed here from what the server sends; proofs and checkpoints are verified with
 * a key that the person has; and the server can read again all that it has stored.
 */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { canHash } from "../model/chain.js";
import { readCheckpoint } from "../model/merkle.js";
import { Notice } from "../parts/basics.js";
import { ChainCard } from "../parts/chain-card.js";
import { CheckpointCard } from "../parts/checkpoint-card.js";
import { GrowthCard, ProofCard } from "../parts/proof-cards.js";
import { StoreCard } from "../parts/store-card.js";

export const title = "Integrity";

/**
 * The latest checkpoint: its text and what it says, or why there is none.
 * @typedef {{note: string, checkpoint: import("../model/merkle.js").Checkpoint} | {error: Error}}
 *   Latest
 */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const [latest, setLatest] = useState(/** @type {Latest | null} */ (null));
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const ended = new AbortController();
    load(ended.signal).then((found) => ended.signal.aborted || setLatest(found));
    return () => ended.abort();
  }, [version]);
  return html`${
    canHash()
      ? null
      : html`<${Notice} kind="warning" title="This browser cannot compute hashes here.">
          It does on HTTPS and on localhost only. Use one of these, or everlog verify.<//>`
  }
    <div class="grid pair">
      <div class="stack">
        <${ChainCard} params=${params} latest=${latest} />
        <${StoreCard} />
      </div>
      <div class="stack">
        <${CheckpointCard} latest=${latest} onReload=${() => setVersion(version + 1)} />
        <${ProofCard} key=${params.get("event") ?? ""} event=${params.get("event") ?? ""} latest=${latest} />
        <${GrowthCard} latest=${latest} />
      </div>
    </div>`;
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Latest>}
 */
async function load(signal) {
  try {
    const note = await api.text("GET", "api/v2/log/checkpoint", undefined, { signal });
    return { note, checkpoint: readCheckpoint(note) };
  } catch (error) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }
}
