/** Asks for the token, tries it, and says in plain words why it was not taken. */

import { html } from "everlog/html";
import { useRef, useState } from "preact/hooks";
import { ApiError, request } from "../api.js";
import { Field, Notice } from "../parts/basics.js";
import { Banner, Brand } from "../parts/frame.js";
import { signedOutBecause, signIn } from "../session.js";

export const title = "Sign in";

export function Page() {
  const [fault, setFault] = useState(/** @type {string | null} */ (null));
  const [trouble, setTrouble] = useState(/** @type {string | null} */ (null));
  const [isBusy, setBusy] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const remember = useRef(/** @type {HTMLInputElement | null} */ (null));

  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    const token = input.current?.value.trim() ?? "";
    if (isBusy) {
      return;
    }
    setTrouble(null);
    const wrong = flaw(token);
    setFault(wrong);
    if (wrong === null) {
      setBusy(true);
      try {
        await request("POST", "api/v2/system/verify-token", undefined, { token });
        signIn(token, { remember: remember.current?.checked ?? false });
        return;
      } catch (error) {
        tell(error);
      }
      setBusy(false);
    }
    input.current?.focus();
  };
  /** @param {unknown} error */
  const tell = (error) => {
    const status = error instanceof ApiError ? error.status : -1;
    if (status === 401) {
      setFault("The server does not accept this token.");
    } else {
      setTrouble(sentence(error));
    }
  };
  const reason = signedOutBecause.value;
  return html`<main class="sign-in">
    <${Banner} />
    <form onSubmit=${submit} novalidate>
      <${Brand} />
      <h1 class="visually-hidden" tabindex="-1">Sign in</h1>
      <p class="muted">Type the API token of this server. It stays in the memory of this tab, and
        goes to no other server.</p>
      ${
        reason !== null && trouble === null && fault === null
          ? html`<${Notice} kind="warning">${reason}<//>`
          : null
      }
      ${trouble !== null ? html`<${Notice} kind="bad">${trouble}<//>` : null}
      <${Field} label="API token" fault=${fault}>
        ${(
          /** @type {any} */ attributes,
        ) => html`<input ...${attributes} ref=${input} type="password"
          autocomplete="off" spellcheck="false" autocapitalize="off" autofocus required />`}
      <//>
      <label class="check"><input type="checkbox" ref=${remember} />
        <span>Keep me signed in until this tab is closed<br />
          <span class="muted small">The browser then keeps the token with the tab. Leave it out
            on a machine that others use.</span></span></label>
      <button class="primary" disabled=${isBusy}>${isBusy ? "Signing in…" : "Sign in"}</button>
    </form>
  </main>`;
}

/** @param {string} token */
function flaw(token) {
  if (token === "") {
    return "Type the token.";
  }
  // A header takes nothing else, and the server has no such token.
  return /^[\x21-\x7e]+$/.test(token)
    ? null
    : "A token has letters, digits and signs of ASCII only.";
}

/** @param {unknown} error */
function sentence(error) {
  if (!(error instanceof ApiError)) {
    return String(error);
  }
  if (error.status === 429) {
    const wait = error.retryAfter === undefined ? "later" : `in ${error.retryAfter} s`;
    return `There were too many attempts from this address. Try again ${wait}.`;
  }
  if (error.status === 0) {
    return "The server cannot be reached. Check the connection, and whether it runs.";
  }
  return error.message;
}
