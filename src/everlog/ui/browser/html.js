/**
 * What markup is made with: templates of htm, which become elements of Preact.
 *
 * Whatever is put into a template is text or an element, never markup.
 */

import htm from "htm";
import { Fragment, h, render } from "preact";

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);

export { Fragment, render };
