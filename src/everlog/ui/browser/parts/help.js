/** Which keys do what, on the page that is shown and everywhere. */

import { html } from "everlog/html";
import { hasShortcuts } from "../preferences.js";
import { Dialog } from "./dialog.js";
import { shortcuts } from "./keys.js";

/** @param {{onClose: () => void}} props */
export function Help({ onClose }) {
  const rows = [
    ...shortcuts.value.map(({ keys, label }) => ({ keys, label })),
    { keys: "Esc", label: "Close what is open" },
    { keys: "↑ ↓", label: "From row to row, in tables and trees" },
    { keys: "Enter", label: "Open the row" },
  ];
  /** @param {Event} event */
  const change = (event) => {
    hasShortcuts.value = /** @type {HTMLInputElement} */ (event.currentTarget).checked;
  };
  return html`<${Dialog} title="Keyboard shortcuts" onClose=${onClose}
    actions=${html`<button type="button" onClick=${onClose}>Close</button>`}>
    <dl class="facts">
      ${rows.map(
        ({ keys, label }) => html`<dt key=${keys}>${keys.split(" ").map(Key)}</dt>
          <dd>${label}</dd>`,
      )}
    </dl>
    <label class="check"><input type="checkbox" checked=${hasShortcuts.value} onChange=${change} />
      <span>Single letters are shortcuts</span></label>
  <//>`;
}

/** @param {string} key */
function Key(key) {
  return html`<kbd>${nameOf(key)}</kbd>${" "}`;
}

/** @param {string} key */
function nameOf(key) {
  return key.startsWith("mod+") ? `Ctrl ${key.slice(4).toUpperCase()}` : key;
}
