/**
 * An editor of EventQL: CodeMirror with our highlighting, completion and faults.
 *
 * It lives in a shadow tree, where CodeMirror adopts its style sheets; in the page itself it would
 * write elements of style, which the policy of the pages refuses.
 */

import {
  acceptCompletion,
  autocompletion,
  bracketMatching,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  defaultKeymap,
  EditorState,
  EditorView,
  HighlightStyle,
  history,
  historyKeymap,
  keymap,
  lineNumbers,
  lintKeymap,
  Prec,
  pickedCompletion,
  placeholder,
  StreamLanguage,
  setDiagnostics,
  syntaxHighlighting,
  tags,
} from "codemirror";
import { html } from "everlog/html";
import { useEffect, useRef } from "preact/hooks";
import { eventql } from "../model/highlight.js";

/** @typedef {{from: number, to: number, message: string}} Fault places in UTF-16 units */
/** @typedef {import("../model/completion.js").Offer} Offer */

const STYLES = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: "var(--accent)", fontWeight: "600" },
  { tag: tags.string, color: "var(--string)" },
  { tag: [tags.number, tags.typeName], color: "var(--number)" },
  { tag: [tags.atom, tags.className], color: "var(--word)" },
  { tag: tags.function(tags.variableName), color: "var(--number)" },
  { tag: [tags.comment, tags.punctuation, tags.operator], color: "var(--muted)" },
  { tag: tags.comment, fontStyle: "italic" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const POPUP = {
  border: "1px solid var(--border)",
  borderRadius: "var(--radius)",
  background: "var(--surface)",
  boxShadow: "var(--shadow)",
  color: "var(--text)",
};

const THEME = EditorView.theme({
  "&": { background: "var(--surface)", color: "var(--text)", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", overflow: "auto" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--text)", minHeight: "96px" },
  ".cm-gutters": {
    background: "var(--surface)",
    borderRight: "0",
    color: "var(--muted)",
    paddingLeft: "4px",
  },
  ".cm-lintRange": { backgroundImage: "none" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    backgroundColor: "var(--bad-soft)",
    textDecoration: "underline wavy var(--bad)",
    textUnderlineOffset: "3px",
    textDecorationSkipInk: "none",
  },
  ".cm-tooltip": POPUP,
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px", lineHeight: "20px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
    background: "var(--accent-soft)",
    color: "var(--text)",
  },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "8px" },
  ".cm-completionMatchedText": { color: "var(--accent)", textDecoration: "none" },
  ".cm-completionInfo": {
    ...POPUP,
    maxWidth: "440px",
    padding: "8px 12px",
    lineHeight: "18px",
    whiteSpace: "pre-wrap",
  },
  ".cm-diagnostic": { borderLeft: "4px solid var(--bad)", padding: "6px 10px", maxWidth: "480px" },
  ".cm-panels": { background: "var(--sunken)", color: "var(--text)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    background: "var(--accent-soft)",
    outline: "1px solid var(--accent)",
  },
  "&.cm-focused .cm-selectionBackground, ::selection": { background: "var(--accent-soft)" },
  ".cm-placeholder": { color: "var(--muted)" },
});

/**
 * @param {{given: {text: string}, label: string, onChange: (text: string) => void, onRun: () =>
 *   void,
 *   faults: Fault[], offer: (text: string, at: number, isAsked: boolean, signal: AbortSignal) =>
 *   Promise<Offer | null>}} props `given` replaces what is there whenever it is another object;
 *   what is typed the editor knows first, and nobody gives it back.
 */
export function QueryEditor({ given, label, onChange, onRun, faults, offer }) {
  const host = useRef(/** @type {HTMLElement | null} */ (null));
  const editor = useRef(/** @type {any} */ (null));
  const latest = useRef({ onChange, onRun, offer });
  latest.current = { onChange, onRun, offer };

  useEffect(() => {
    const element = host.current;
    if (element === null) {
      return undefined;
    }
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const extensions = extensionsFor(label, latest);
    const state = EditorState.create({ doc: given.text, extensions });
    const view = new EditorView({ state, root, parent: root });
    editor.current = view;
    return () => view.destroy();
  }, []);

  useEffect(() => {
    const view = editor.current;
    const { text } = given;
    const present = view.state.doc.toString();
    if (present !== text) {
      const selection = { anchor: Math.min(view.state.selection.main.head, text.length) };
      view.dispatch({ changes: { from: 0, to: present.length, insert: text }, selection });
    }
  }, [given]);

  useEffect(() => {
    const view = editor.current;
    const length = view.state.doc.length;
    const known = faults.filter(({ to }) => to <= length);
    const shown = known.map((fault) => ({ ...fault, severity: /** @type {const} */ ("error") }));
    view.dispatch(setDiagnostics(view.state, shown));
  }, [faults]);

  /**
   * Letters typed here are no shortcuts of the page: from outside, the tree hides who is typing.
   */
  const keep = (/** @type {KeyboardEvent} */ event) => {
    if (!event.ctrlKey && !event.metaKey) {
      event.stopPropagation();
    }
  };
  return html`<div class="editor" ref=${host} onKeyDown=${keep}></div>`;
}

/**
 * @param {string} label
 * @param {{current: {onChange: (text: string) => void, onRun: () => void,
 *   offer: (text: string, at: number, isAsked: boolean, signal: AbortSignal) =>
 *   Promise<Offer | null>}}} latest
 */
function extensionsFor(label, latest) {
  const run = () => {
    latest.current.onRun();
    return true;
  };
  return [
    Prec.highest(keymap.of([{ key: "Mod-Enter", run, preventDefault: true }])),
    lineNumbers(),
    history(),
    bracketMatching(),
    closeBrackets(),
    StreamLanguage.define(eventql),
    syntaxHighlighting(STYLES),
    autocompletion({
      override: [(/** @type {any} */ context) => completionsFor(context, latest.current.offer)],
      maxRenderedOptions: 60,
      icons: false,
    }),
    EditorView.lineWrapping,
    EditorView.domEventHandlers({ beforeinput: replaceSelected }),
    EditorView.contentAttributes.of({
      // Otherwise the browser keeps the look of what is replaced by a style, against the policy.
      contenteditable: "plaintext-only",
      "aria-label": label,
      spellcheck: "false",
      autocapitalize: "off",
      autocorrect: "off",
    }),
    placeholder("FROM e IN events …"),
    // Tab takes a completion where one is offered, and leaves the editor otherwise.
    keymap.of([
      { key: "Tab", run: acceptCompletion },
      ...closeBracketsKeymap,
      ...completionKeymap,
      ...historyKeymap,
      ...lintKeymap,
      ...defaultKeymap,
    ]),
    EditorView.updateListener.of((/** @type {any} */ update) => {
      if (update.docChanged) {
        latest.current.onChange(update.state.doc.toString());
      }
    }),
    THEME,
  ];
}

/**
 * Return what takes a completion and replaces so much behind the cursor.
 * @param {import("../model/completion.js").Completion} option
 * @param {number} after
 */
function applying(option, after) {
  /** @type {(view: any, completion: any, from: number, to: number) => void} */
  return (view, completion, from, to) => {
    const insert = option.apply ?? option.label;
    view.dispatch({
      changes: { from, to: Math.min(to + after, view.state.doc.length), insert },
      selection: { anchor: from + insert.length },
      userEvent: "input.complete",
      annotations: pickedCompletion.of(completion),
    });
  };
}

/**
 * Type over what is selected. A browser that does it by itself joins lines with elements that have
 * a style, which the policy of the pages refuses.
 * @param {InputEvent} event
 * @param {any} view
 */
function replaceSelected(event, view) {
  const text = event.data;
  if (event.inputType !== "insertText" || text === null || view.composing) {
    return false;
  }
  const [from, to] = selectionOf(view);
  if (from >= to) {
    return false;
  }
  const insert = () =>
    view.state.update({
      changes: { from, to, insert: text },
      selection: { anchor: from + text.length },
      userEvent: "input.type",
    });
  const handlers = view.state.facet(EditorView.inputHandler);
  const isDone = handlers.some((/** @type {any} */ each) => each(view, from, to, text, insert));
  if (!isDone) {
    view.dispatch(insert());
  }
  return true;
}

/**
 * Return where what is selected begins and ends. The editor hears of it a moment later than the
 * browser knows, where that can be asked: only some tell what is selected in a shadow tree.
 * @param {any} view
 * @returns {[number, number]}
 */
function selectionOf(view) {
  const known = view.root.getSelection?.();
  if (known?.anchorNode && view.contentDOM.contains(known.anchorNode)) {
    const anchor = view.posAtDOM(known.anchorNode, known.anchorOffset);
    const focus = view.posAtDOM(known.focusNode, known.focusOffset);
    return [Math.min(anchor, focus), Math.max(anchor, focus)];
  }
  const { from, to } = view.state.selection.main;
  return [from, to];
}

/**
 * @param {any} context CodeMirror's
 * @param {(text: string, at: number, isAsked: boolean, signal: AbortSignal) =>
 *   Promise<Offer | null>} offer
 */
async function completionsFor(context, offer) {
  const ended = new AbortController();
  context.addEventListener("abort", () => ended.abort());
  const text = context.state.doc.toString();
  const found = await offer(text, context.pos, context.explicit, ended.signal);
  if (found === null || ended.signal.aborted) {
    return null;
  }
  const options = found.options.map((option) => ({
    ...option,
    boost: { variable: 2, property: 2, enum: 1, constant: 1, class: 1 }[option.type] ?? 0,
    apply: found.after ? applying(option, found.after) : option.apply,
    // Text, never markup.
    info: option.info === undefined ? undefined : () => document.createTextNode(option.info ?? ""),
  }));
  const isName = found.wants === "type" || found.wants === "subject";
  // What is typed narrows them down, without being asked for anew.
  const validFor = found.wants === "subject" ? undefined : isName ? /^[^"'\r\n]*$/ : /^\w*$/;
  return { from: found.from, options, validFor };
}
