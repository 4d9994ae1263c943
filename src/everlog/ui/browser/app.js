/** The one table of pages, and what decides which of them is shown. */

import { effect } from "@preact/signals";
import { html, render } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import * as signIn from "./pages/sign-in.js";
import { Empty, ErrorBox, Loading } from "./parts/basics.js";
import { Frame } from "./parts/frame.js";
import { GoTo } from "./parts/go-to.js";
import { Help } from "./parts/help.js";
import { useKeys } from "./parts/keys.js";
import { Toasts } from "./parts/toasts.js";
import { go, route } from "./router.js";
import * as server from "./server.js";
import { isSignedIn } from "./session.js";

/**
 * `load` brings the module of a page when it is first shown: `{title, Page}`. Those of the
 * navigation stand there in this order; a page that only writes is left out where nothing can be
 * written. `key` is the letter that leads there after "g".
 * @typedef {{title: string, load: () => Promise<any>, navigation: boolean, isWriting?: boolean,
 *   key?: string}} Listed
 */

/** @type {Record<string, Listed>} */
const PAGES = {
  overview: {
    title: "Overview",
    load: () => import("./pages/overview.js"),
    navigation: true,
    key: "o",
  },
  subjects: {
    title: "Subjects",
    load: () => import("./pages/subjects.js"),
    navigation: true,
    key: "s",
  },
  events: { title: "Events", load: () => import("./pages/events.js"), navigation: true, key: "e" },
  event: { title: "Event", load: () => import("./pages/event.js"), navigation: false },
  compare: { title: "Compare", load: () => import("./pages/compare.js"), navigation: false },
  history: { title: "History", load: () => import("./pages/history.js"), navigation: false },
  trace: { title: "Trace", load: () => import("./pages/trace.js"), navigation: false },
  query: { title: "Query", load: () => import("./pages/query.js"), navigation: true, key: "q" },
  types: {
    title: "Event types",
    load: () => import("./pages/types.js"),
    navigation: true,
    key: "t",
  },
  write: {
    title: "Write",
    load: () => import("./pages/write.js"),
    navigation: true,
    key: "w",
    isWriting: true,
  },
  integrity: {
    title: "Integrity",
    load: () => import("./pages/integrity.js"),
    navigation: true,
    key: "i",
  },
};

function App() {
  return html`${isSignedIn.value ? html`<${Inside} />` : html`<${signIn.Page} />`}<${Toasts} />`;
}

function Inside() {
  const [opened, setOpened] = useState(/** @type {"goTo" | "help" | null} */ (null));
  const { page, params } = route.value;
  const listed = Object.hasOwn(PAGES, page) ? PAGES[page] : null;
  const title = listed?.title ?? "No such page";
  useKeys([
    { keys: "mod+k", label: "Go to a page, subject, event or type", run: () => setOpened("goTo") },
    { keys: "/", label: "The same", run: () => setOpened("goTo") },
    { keys: "?", label: "Keyboard shortcuts", run: () => setOpened("help") },
    ...Object.entries(PAGES).flatMap(([name, each]) =>
      each.key === undefined || (each.isWriting && !server.canWrite.value)
        ? []
        : [{ keys: `g ${each.key}`, label: each.title, run: () => go(name) }],
    ),
  ]);
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) {
      document.getElementById("main")?.scrollTo(0, 0);
    }
    // A new page is read out from its heading, and the next Tab is in it.
    /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus();
    isFirst.current = false;
  }, [page]);
  const close = () => setOpened(null);
  // After a restore there is another store than before: the page is made anew.
  const key = `${page} ${server.writability.value === "restoring"}`;
  return html`<${Frame} pages=${PAGES} title=${title} openGoTo=${() => setOpened("goTo")}
      openHelp=${() => setOpened("help")}>
      ${
        listed === null
          ? html`<${Missing} />`
          : html`<${Loaded} key=${key} listed=${listed} params=${params} />`
      }
    <//>
    ${opened === "goTo" ? html`<${GoTo} pages=${PAGES} onClose=${close} />` : null}
    ${opened === "help" ? html`<${Help} onClose=${close} />` : null}`;
}

function Missing() {
  return html`<${Empty} title="There is no such page"><a href="#/overview">To the overview</a><//>`;
}

/** @param {{listed: Listed, params: URLSearchParams}} props */
function Loaded({ listed, params }) {
  const [module, setModule] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    listed.load().then(setModule, setError);
  }, [listed]);
  if (error !== null) {
    return html`<${ErrorBox} error=${error} title="This page could not be loaded."
      retry=${() => location.reload()} />`;
  }
  return module === null ? html`<${Loading} />` : html`<${module.Page} params=${params} />`;
}

effect(() => {
  const { page } = route.value;
  const name = isSignedIn.value ? (PAGES[page]?.title ?? "No such page") : signIn.title;
  document.title = `${name} – ${server.appearance.value.title ?? "Everlog"}`;
});

const root = document.getElementById("app");
if (root !== null) {
  render(html`<${App} />`, root);
}
