// What an empty conversation shows: a greeting, a few ways to begin, and a hint when no model is set.
import { html, nothing } from '../../vendor/lit.js';
import { call } from '../api.js';
import { icon } from '../icon.js';
import { t } from '../i18n.js';

const SUGGESTIONS = [['plan', 'calendar'], ['explain', 'idea'], ['code', 'code'], ['write', 'text']];

/** Whether there is nothing to answer with: no server set and none found nearby. */
export async function lacksModel() {
  const { values } = await call('GET', '/api/settings/model');
  if (values.base_url || values.name) return false;
  const { servers } = await call('GET', '/api/models');
  return !servers.some((/** @type {{models?: unknown[]}} */ server) => server.models?.length);
}

/** @param {Date} now */
function greeting(now) {
  const hour = now.getHours();
  if (hour < 5) return t('welcome.night');
  if (hour < 12) return t('welcome.morning');
  return t(hour < 18 ? 'welcome.day' : 'welcome.evening');
}

/**
 * @param {boolean} noModel
 * @param {(text: string) => void} pick
 */
export function welcome(noModel, pick) {
  return html`<div class="welcome">
    <img class="logo" src="/static/icon.svg" alt="" width="56" height="56">
    <p class="greeting">${greeting(new Date())}</p>
    <p class="lead">${t('welcome.lead')}</p>
    ${noModel ? html`<div class="first-run" role="note">${icon('model')}<p><strong>${t('welcome.no_model')}</strong> ${t('welcome.no_model_hint')}</p>
      <a class="button primary" href="/settings?first=1">${t('welcome.choose_model')}</a></div>` : nothing}
    <ul class="suggestions">${SUGGESTIONS.map(([name, symbol]) => html`<li>
      <button type="button" @click=${() => pick(t(`suggest.${name}.text`))}>${icon(symbol)}
        <span><strong>${t(`suggest.${name}`)}</strong><span>${t(`suggest.${name}.text`)}</span></span></button></li>`)}</ul>
  </div>`;
}
