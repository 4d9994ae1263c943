/** Short messages in the corner, about what was just done. They go by themselves. */

import { signal } from "@preact/signals";
import { html } from "everlog/html";

const SHOWN_MS = 6_000;

/** @type {import("@preact/signals").Signal<{id: number, text: string, action?: any}[]>} */
const shown = signal([]);
let last = 0;

/**
 * @param {string} text
 * @param {any} [action] A link or a button that belongs to it.
 */
export function toast(text, action) {
  last += 1;
  const id = last;
  shown.value = [...shown.value.slice(-3), { id, text, action }];
  setTimeout(() => {
    shown.value = shown.value.filter((each) => each.id !== id);
  }, SHOWN_MS);
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.value.map(
      ({ id, text, action }) =>
        html`<div class="toast" key=${id}><span class="any">${text}</span>${action}</div>`,
    )}
  </div>`;
}
