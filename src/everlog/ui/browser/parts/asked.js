/** What a page asked the server for, to take along: as a query in EventQL, as a curl command. */

import { html } from "everlog/html";
import { bodyOf, ROOT } from "../api.js";
import { curl } from "../model/curl.js";
import { link } from "../router.js";
import { CopyButton } from "./basics.js";
import { Icon } from "./icons.js";

/**
 * @param {{query?: string | null, curl?: string | null, note?: string}} props
 */
export function Asked({ query = null, curl: command = null, note }) {
  return html`<section class="grid asked" aria-label="The same elsewhere">
    ${
      query === null
        ? null
        : html`<div class="card"><header><h3>The same in EventQL</h3>
            <a class="button small end" href=${link("query", { query })}><${Icon}
              name="query" />Open in the editor</a>
            <${CopyButton} text=${query} label="Copy query" iconOnly /></header>
            <pre class="code" tabindex="0" aria-label="Query">${query}</pre></div>`
    }
    ${
      command === null
        ? null
        : html`<div class="card"><header><h3>The same with curl</h3>
            <span class="end"></span><${CopyButton} text=${command}
              label="Copy command" iconOnly /></header>
            <pre class="code" tabindex="0" aria-label="Command">${command}</pre></div>`
    }
    ${note === undefined ? null : html`<p class="muted small">${note}</p>`}
  </section>`;
}

/**
 * Returns the command that reads a selection.
 * @param {import("../api.js").Selection} selection
 */
export function readCommand(selection) {
  const url = String(new URL("api/v2/data/read-events", ROOT));
  return curl({ method: "QUERY", url, body: JSON.stringify(bodyOf(selection)), isStream: true });
}

/**
 * Returns the command that runs a query.
 * @param {string} query
 */
export function queryCommand(query) {
  const url = String(new URL("api/v2/data/run-eventql-query", ROOT));
  return curl({ method: "QUERY", url, body: JSON.stringify({ query }), isStream: true });
}
