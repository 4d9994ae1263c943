/** One box that leads anywhere: a page, a subject, an event by its id, an event type. */

import { html } from "everlog/html";
import { useEffect, useId, useState } from "preact/hooks";
import { json } from "../api.js";
import { completing } from "../model/tree.js";
import { go } from "../router.js";
import { canWrite } from "../server.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";

/** @typedef {{icon: string, label: string, hint: string, run: () => void}} Choice */

const COMPLETIONS_MAX = 20;
const PAUSE_MS = 120;
const EVENT_TYPE = /^[a-z0-9-]+(\.[a-z0-9-]+)+$/i;

/** @param {{pages: Record<string, import("./frame.js").Listed>, onClose: () => void}} props */
export function GoTo({ pages, onClose }) {
  const id = useId();
  const [text, setText] = useState("");
  const [index, setIndex] = useState(0);
  const [subjects, setSubjects] = useState(/** @type {string[]} */ ([]));

  useEffect(() => {
    setSubjects([]);
    if (!text.startsWith("/")) {
      return undefined;
    }
    const ended = new AbortController();
    const timer = setTimeout(() => {
      complete(text, ended.signal).then(
        (found) => !ended.signal.aborted && setSubjects(found),
        () => {},
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [text]);

  const choices = find(text.trim(), pages, subjects);
  const current = Math.min(index, choices.length - 1);
  /** @param {Choice | undefined} choice */
  const choose = (choice) => {
    if (choice !== undefined) {
      onClose();
      choice.run();
    }
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && choices.length > 0) {
      event.preventDefault();
      const next = (current + step + choices.length) % choices.length;
      setIndex(next);
      document.getElementById(`${id}-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      choose(choices[current]);
    } else if (event.key === "Tab" && !event.shiftKey && subjects.length > 0) {
      event.preventDefault();
      setText(subjects[0]);
    }
  };
  return html`<${Dialog} title="Go to" class="go-to" hideTitle onClose=${onClose}>
    <input role="combobox" type="text" aria-label="Page, subject, event id or event type"
      placeholder="Page, /subject, event id, or event type" aria-expanded="true" autofocus
      aria-controls="${id}-list" aria-autocomplete="list" autocomplete="off" spellcheck="false"
      aria-activedescendant=${choices.length > 0 ? `${id}-${current}` : undefined} value=${text}
      onInput=${(/** @type {any} */ event) => {
        setText(event.currentTarget.value);
        setIndex(0);
      }} onKeyDown=${press} />
    <div role="listbox" id="${id}-list" aria-label="Where to">
      ${choices.map(
        (
          { icon, label, hint },
          place,
        ) => html`<div role="option" key=${`${hint} ${label}`} id="${id}-${place}"
          aria-selected=${place === current} onMouseMove=${() => setIndex(place)}
          onClick=${() => choose(choices[place])}><${Icon} name=${icon} />
          <span class="truncate any">${label}</span><span class="hint">${hint}</span></div>`,
      )}
      ${
        choices.length === 0
          ? html`<div role="option" aria-selected="false" aria-disabled="true" class="muted">
              Nothing is called like this.</div>`
          : null
      }
    </div>
  <//>`;
}

/**
 * @param {string} text
 * @param {Record<string, import("./frame.js").Listed>} pages
 * @param {string[]} subjects
 * @returns {Choice[]}
 */
function find(text, pages, subjects) {
  /** @type {Choice[]} */
  const choices = [];
  if (text.startsWith("/")) {
    const run = (/** @type {string} */ subject) => () => go("events", { subject, recursive: true });
    const all = [text, ...subjects.filter((each) => each !== text)];
    choices.push(
      ...all.map((each) => ({
        icon: "subjects",
        label: each,
        hint: "Events of the subject",
        run: run(each),
      })),
    );
  }
  if (/^\d{1,19}$/.test(text)) {
    choices.push({
      icon: "events",
      label: text,
      hint: "Event",
      run: () => go("event", { id: text }),
    });
  }
  if (EVENT_TYPE.test(text)) {
    const hint = "Events of the type";
    choices.push({
      icon: "types",
      label: text,
      hint,
      run: () => go("events", { subject: "/", recursive: true, type: text }),
    });
  }
  const wanted = text.toLowerCase();
  for (const [name, { title, navigation, isWriting }] of Object.entries(pages)) {
    const isShown = navigation && !(isWriting && !canWrite.value);
    if (isShown && title.toLowerCase().includes(wanted)) {
      choices.push({ icon: name, label: title, hint: "Page", run: () => go(name) });
    }
  }
  return choices;
}

/**
 * Returns some subjects that begin with a text.
 * @param {string} text
 * @param {AbortSignal} signal
 */
async function complete(text, signal) {
  const { subject, prefix } = completing(text);
  const body = { subject, options: { prefix, limit: COMPLETIONS_MAX } };
  const answer = await json("QUERY", "api/v2/data/read-child-subjects", body, { signal });
  return answer.children.map((/** @type {{subject: string}} */ child) => child.subject);
}
