/** A window over the page: the browser keeps the focus in it, and Escape closes it. */

import { html } from "everlog/html";
import { useEffect, useId, useRef } from "preact/hooks";

/**
 * @param {{title: string, onClose: () => void, actions?: any, class?: string, hideTitle?: boolean,
 *   children?: any}} props It is open as long as it is there.
 */
export function Dialog({
  title,
  onClose,
  actions,
  class: extra = "",
  hideTitle = false,
  children,
}) {
  const id = useId();
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) {
        before.focus();
      }
    };
  }, []);
  /** @param {Event} event */
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  /** @param {MouseEvent} event */
  const press = (event) => {
    // Beside what is in it is the backdrop.
    if (event.target === element.current) {
      onClose();
    }
  };
  return html`<dialog class=${extra} ref=${element} aria-labelledby=${id} onCancel=${cancel}
    onMouseDown=${press}>
    <div>
      <h2 id=${id} class=${hideTitle ? "visually-hidden" : ""}>${title}</h2>
      ${children}
      ${actions && html`<footer>${actions}</footer>`}
    </div>
  </dialog>`;
}
