/**
 * Keyboard shortcuts: those of the frame, and those of the page that is shown.
 *
 * Letters are shortcuts only where nobody types and no dialog is open, and where the person has
 * not switched them off.
 */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { hasShortcuts } from "../preferences.js";

/**
 * `keys` are those of one after the other, "g e", or of one with Ctrl or Command, "mod+k".
 * @typedef {{keys: string, label: string, run: () => void}} Shortcut
 */

/** @type {import("@preact/signals").Signal<Shortcut[]>} */
export const shortcuts = signal([]);

const SEQUENCE_MS = 1_000;
let pending = "";
let pendingAt = 0;

/**
 * Has shortcuts work as long as the component is there; the help dialog lists them.
 * @param {Shortcut[]} mine
 */
export function useKeys(mine) {
  const latest = useRef(mine);
  latest.current = mine;
  useEffect(() => {
    const kept = mine.map(({ keys, label }) => ({
      keys,
      label,
      run: () => latest.current.find((each) => each.keys === keys)?.run(),
    }));
    shortcuts.value = [...shortcuts.value, ...kept];
    return () => {
      shortcuts.value = shortcuts.value.filter((each) => !kept.includes(each));
    };
  }, [mine.map(({ keys, label }) => `${keys} ${label}`).join("\n")]);
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) {
    return;
  }
  const name = nameOf(event);
  const isLetter = !name.startsWith("mod+");
  const isDialog = document.querySelector("dialog[open]") !== null;
  if (isDialog || (isLetter && (!hasShortcuts.value || isTyping(event.target)))) {
    return;
  }
  const isSequence = pending !== "" && event.timeStamp - pendingAt < SEQUENCE_MS;
  const both = isSequence ? `${pending} ${name}` : name;
  const found = shortcuts.value.findLast(({ keys }) => keys === both || keys === name);
  pending = name;
  pendingAt = event.timeStamp;
  if (found !== undefined) {
    event.preventDefault();
    pending = "";
    found.run();
  }
});

/** @param {KeyboardEvent} event */
function nameOf(event) {
  const isMod = event.ctrlKey || event.metaKey;
  if (isMod) {
    return `mod+${event.key.toLowerCase()}`;
  }
  return event.altKey ? "" : event.key;
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input, textarea, select, [role=textbox]"))
  );
}
