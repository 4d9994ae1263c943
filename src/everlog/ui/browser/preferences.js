/** What a person prefers in this browser. It says nothing about what is stored. */

import { effect, signal } from "@preact/signals";

/** @typedef {"system" | "light" | "dark"} Theme */

/** @type {import("@preact/signals").Signal<Theme>} */
export const theme = kept("everlog.theme", "system");

/** Whether single letters are shortcuts; some people speak to their computer. */
export const hasShortcuts = kept("everlog.shortcuts", true);

effect(() => {
  const root = document.documentElement;
  if (theme.value === "system") {
    delete root.dataset.theme;
  } else {
    root.dataset.theme = theme.value;
  }
});

/**
 * Returns a value that the browser keeps; where it may keep nothing, the tab does.
 * @template T
 * @param {string} key
 * @param {T} first What it is in the beginning.
 * @returns {import("@preact/signals").Signal<T>}
 */
export function kept(key, first) {
  const value = signal(first);
  try {
    const text = localStorage.getItem(key);
    if (text !== null) {
      value.value = JSON.parse(text);
    }
  } catch {
    // What somebody else wrote there is not ours.
  }
  let isFirst = true;
  effect(() => {
    const text = JSON.stringify(value.value);
    if (isFirst) {
      isFirst = false;
      return;
    }
    try {
      localStorage.setItem(key, text);
    } catch {
      // Full, or forbidden.
    }
  });
  return value;
}
