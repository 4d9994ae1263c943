/** Small pictures beside words; what they mean, the words say. */

import { html } from "everlog/html";

const PATHS = /** @type {Record<string, string>} */ ({
  overview: "M2 9h3l2-5 3 9 2-4h2",
  subjects: "M3 3h4v3H3zM9 8h4v3H9zM9 12h4v2H9zM5 6v7h4M5 9.5h4",
  events: "M2.5 4h11M2.5 8h11M2.5 12h7",
  query: "M3 4l3 4-3 4M8.5 12H13",
  types: "M2.5 7.5v-5h5l6 6-5 5zM5.5 5.5h.01",
  write: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3zM8 13h5",
  integrity: "M8 1.8l5 2v4c0 3-2 5.2-5 6.4-3-1.2-5-3.4-5-6.4v-4zM5.8 8l1.6 1.6L10.4 6.5",
  trace: "M2.5 4h5M5 8h6M8.5 12h5",
  search: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.4 10.4L14 14",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  done: "M3 8.5l3.2 3.2L13 5",
  help: "M6 6a2 2 0 1 1 2.8 1.9c-.6.3-.8.7-.8 1.4M8 11.8h0M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0z",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  leave: "M6 2.5H3v11h3M7 8h7M11 5l3 3-3 3",
  download: "M8 2.5v8M4.8 7.5L8 10.7l3.2-3.2M3 13.5h10",
  next: "M6 3.5L10.5 8 6 12.5",
  previous: "M10 3.5L5.5 8l4.5 4.5",
});

/** @param {{name: string}} props */
export function Icon({ name }) {
  const path = PATHS[name] ?? PATHS.events;
  return html`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${path} /></svg>`;
}
