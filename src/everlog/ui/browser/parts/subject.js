/** Subjects: as a path whose parts are links, and as a field that completes what is typed. */

import { html } from "everlog/html";
import { useEffect, useId, useState } from "preact/hooks";
import { json } from "../api.js";
import { whole } from "../model/amounts.js";
import { ancestorsOf, completing, nameOf, ROOT } from "../model/tree.js";
import { link } from "../router.js";

const COMPLETIONS_MAX = 12;
const PAUSE_MS = 120;

/** @typedef {import("../model/tree.js").Counts} Counts */

/**
 * @param {{subject: string, page?: string}} props Where the parts of the path lead.
 */
export function SubjectPath({ subject, page = "events" }) {
  const parts = subject === ROOT ? [ROOT] : [...ancestorsOf(subject), subject];
  return html`<span class="path mono any">${parts.map(
    (part, index) => html`${index > 1 ? html`<span class="muted">/</span>` : null}<a key=${part}
      href=${link(page, { subject: part })}>${nameOf(part)}</a>`,
  )}</span>`;
}

/**
 * A box for a subject: what begins like that is listed, arrows choose, Tab takes the first.
 * @param {{value: string, onChoose: (subject: string) => void, attributes?: Record<string, any>,
 *   placeholder?: string}} props
 */
export function SubjectField({ value, onChoose, attributes = {}, placeholder }) {
  const listId = useId();
  const [text, setText] = useState(value);
  const [isOpen, setOpen] = useState(false);
  const [index, setIndex] = useState(-1);
  const [choices, setChoices] = useState(/** @type {Counts[]} */ ([]));
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (!isOpen || !text.startsWith("/")) {
      setChoices([]);
      return undefined;
    }
    const ended = new AbortController();
    const timer = setTimeout(() => {
      complete(text, ended.signal).then(
        (found) => ended.signal.aborted || setChoices(found),
        () => setChoices([]),
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [text, isOpen]);
  /** @param {string} subject */
  const choose = (subject) => {
    setOpen(false);
    setIndex(-1);
    const trimmed = subject.trim();
    const chosen = trimmed === "" ? ROOT : trimmed.startsWith("/") ? trimmed : `/${trimmed}`;
    const canonical = chosen.length > 1 && chosen.endsWith("/") ? chosen.slice(0, -1) : chosen;
    setText(canonical);
    onChoose(canonical);
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setOpen(true);
      if (choices.length > 0) {
        const count = choices.length + 1;
        setIndex(((index + 1 + step + count) % count) - 1);
      }
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      choose(choices[index]?.subject ?? text);
    } else if (event.key === "Escape" && isOpen && choices.length > 0) {
      event.preventDefault();
      setOpen(false);
    } else if (event.key === "Tab" && !event.shiftKey && isOpen && text !== value) {
      const [only] = choices;
      if (only !== undefined && only.subject !== text && only.subject.startsWith(text)) {
        event.preventDefault();
        setText(only.subject);
      }
    }
  };
  const isShown = isOpen && choices.length > 0;
  return html`<div class="combobox">
    <input type="text" role="combobox" ...${attributes} class="mono" value=${text}
      placeholder=${placeholder} autocomplete="off" spellcheck="false" aria-autocomplete="list"
      aria-expanded=${isShown} aria-controls=${listId}
      aria-activedescendant=${isShown && index >= 0 ? `${listId}-${index}` : undefined}
      onInput=${(/** @type {any} */ event) => {
        setText(event.currentTarget.value);
        setOpen(true);
        setIndex(-1);
      }}
      onKeyDown=${press}
      onBlur=${() => {
        setOpen(false);
        if (text !== value) {
          choose(text);
        }
      }} />
    <div class="choices" role="listbox" id=${listId} aria-label="Subjects" hidden=${!isShown}>
      ${(isShown ? choices : []).map(
        ({ subject, recursiveEventCount }, place) => html`<div role="option" key=${subject}
          id="${listId}-${place}" aria-selected=${place === index}
          onMouseDown=${(/** @type {Event} */ event) => {
            event.preventDefault();
            choose(subject);
          }}><span class="mono any">${subject}</span>
          <span class="muted small">${whole(recursiveEventCount)}</span></div>`,
      )}
    </div>
  </div>`;
}

/**
 * Returns some subjects that begin with a text, siblings of each other.
 * @param {string} text
 * @param {AbortSignal} signal
 * @returns {Promise<Counts[]>}
 */
async function complete(text, signal) {
  const { subject, prefix } = completing(text);
  const body = { subject, options: { prefix, limit: COMPLETIONS_MAX } };
  return (await json("QUERY", "api/v2/data/read-child-subjects", body, { signal })).children;
}
