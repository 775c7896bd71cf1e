import { html } from '../vendor/lit.js';

/** @param {string} name a symbol of icons.svg */
export const icon = name => html`<svg class="icon" aria-hidden="true"><use href="/static/vendor/icons.svg#${name}"></use></svg>`;
