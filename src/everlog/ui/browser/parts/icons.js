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
  reload: "M13 5.5A5.4 5.4 0 1 0 13.4 9M13.2 2.5v3.2H10",
  down: "M3.5 6L8 10.5 12.5 6",
  first: "M4 3.5v9M12 3.5L7.5 8l4.5 4.5",
  last: "M12 3.5v9M4 3.5L8.5 8 4 12.5",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  live: "M8 6.8a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4zM4.8 4.8a4.5 4.5 0 0 0 0 6.4M11.2 4.8a4.5 4.5 0 0 1 0 6.4M2.8 2.8a7.3 7.3 0 0 0 0 10.4M13.2 2.8a7.3 7.3 0 0 1 0 10.4",
  compare: "M2.5 3h4.5v10H2.5zM9 3h4.5v10H9z",
  swap: "M3 5.5h10M10 2.5l3 3-3 3M13 10.5H3M6 7.5l-3 3 3 3",
  next: "M6 3.5L10.5 8 6 12.5",
  previous: "M10 3.5L5.5 8l4.5 4.5",
});

/** @param {{name: string}} props */
export function Icon({ name }) {
  const path = PATHS[name] ?? PATHS.events;
  return html`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${path} /></svg>`;
}
