// Why an answer failed, and what helps. The server puts its list of failures into the page.
import { html, nothing } from '../../vendor/lit.js';
import { icon } from '../icon.js';
import { has, t } from '../i18n.js';

/** @typedef {{ field: string, restart: boolean, words: boolean }} Help */

/** @type {Record<string, Help>} */
const listed = JSON.parse(document.getElementById('failures')?.textContent ?? '{}');
const UNLISTED = { field: '', restart: false, words: true };

/** Errors of the model are named with and without what tells them from others. @param {string} code */
const plain = code => (code in listed ? code : code.replace(/^model_/, ''));

/**
 * @param {import('./conversation.js').Failure} error
 * @param {{ last: boolean, ask: (type: string) => void }} context
 */
export function failureCard({ code, detail, retryable }, { last, ask }) {
  const name = plain(code);
  const { field, restart, words } = listed[name] ?? UNLISTED;
  const text = has(`failure.is.${name}`) ? t(`failure.is.${name}`) : '';
  return html`<div class="failure" role="group" aria-label=${t('failure.title')}>
    ${icon('error')}
    <div><strong>${t('failure.title')}</strong>
      <p dir="auto">${text || detail}</p>
      ${text && detail ? html`<details ?open=${words}><summary>${t('failure.details')}</summary><p dir="auto">${detail}</p></details>` : nothing}
      <div class="failure-actions">
        ${last && retryable !== false ? html`<button type="button" class="retry" @click=${() => ask('retry')}>
          ${icon('retry')}<span>${t('failure.retry')}</span></button>` : nothing}
        ${field ? html`<a class="button" href="/settings#${field}">${t('failure.settings')}</a>` : nothing}
        ${restart && last ? html`<button type="button" @click=${() => ask('start-over')}>
          ${icon('new')}<span>${t('threads.new')}</span></button>` : nothing}
      </div></div>
  </div>`;
}
