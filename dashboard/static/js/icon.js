import { html } from '../vendor/lit.js';

/** @param {string} name a symbol of icons.svg, which is a part of the page */
export const icon = name => html`<svg class="icon" aria-hidden="true"><use href="#icon-${name}"></use></svg>`;
