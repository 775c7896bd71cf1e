// One tool call and its real outcome; and the question whether it may run.
import { html, nothing } from '../../vendor/lit.js';
import { icon } from '../icon.js';
import { has, t } from '../i18n.js';

const ICONS = { running: 'tool', ok: 'done', error: 'error', refused: 'refused', unknown: 'unknown' };

/** @param {any} value */
const pretty = value => JSON.stringify(value ?? {}, null, 2);

/** @param {any} value the arguments in one line, for a glance */
function glance(value) {
  const parts = Object.values(value ?? {}).map(part => (typeof part === 'string' ? part : JSON.stringify(part)));
  return parts.join(' · ').slice(0, 120);
}

/** @param {import('./conversation.js').Tool} tool */
export function toolCard({ call_id, name, arguments: given, status, summary }) {
  const known = status in ICONS ? status : 'unknown';
  return html`<details class="tool ${known}" data-call=${call_id}>
    <summary>
      <span class="tool-icon">${icon(ICONS[/** @type {keyof typeof ICONS} */ (known)])}</span>
      <span class="tool-name">${name}</span>
      <span class="tool-glance" dir="auto">${summary || glance(given)}</span>
      <span class="tool-status">${t(`tool.${known}`)}</span>
      ${icon('open')}
    </summary>
    <div class="tool-body">
      <h3>${t('tool.arguments')}</h3>
      <pre tabindex="0">${pretty(given)}</pre>
      ${summary ? html`<h3>${t('tool.result')}</h3><pre tabindex="0" dir="auto">${summary}</pre>` : nothing}
    </div>
  </details>`;
}

/**
 * @param {import('./conversation.js').Approval} approval
 * @param {(decision: string) => void} decide
 */
export function approvalCard(approval, decide) {
  const { approval_id, name, why, arguments: given, decision } = approval;
  const asked = html`<div class="approval-actions">
    <button type="button" @click=${() => decide('refuse')}>${t('approval.refuse')}</button>
    <button type="button" class="primary" @click=${() => decide('once')}>${t('approval.once')}</button>
    <button type="button" @click=${() => decide('always')}>${t('approval.always')}</button>
  </div>`;
  const settled = has(`approval.was.${decision}`) ? t(`approval.was.${decision}`) : decision;
  return html`<section class="approval" data-approval=${approval_id} aria-label=${t('approval.title', { name })}>
    <p class="approval-title">${icon('approve')}<strong>${t('approval.title', { name })}</strong></p>
    ${why ? html`<p dir="auto">${why}</p>` : nothing}
    <details><summary>${t('tool.arguments')}</summary><pre tabindex="0">${pretty(given)}</pre></details>
    ${decision ? html`<p class="approval-decision">${settled}</p>` : asked}
  </section>`;
}
