// The line at the top of every page while messages are not answered: what is wrong, what to do.
import { icon, make } from './elements.js';
import { has, t } from './i18n.js';
import { StatusWatch } from './status-watch.js';

/** @typedef {{ code: string, detail: string }} Trouble */

/**
 * 'looked' after each look, with the trouble or null as its detail; 'recovered' when a trouble is over.
 */
export const watched = new EventTarget();

const place = /** @type {HTMLElement} */ (document.getElementById('trouble'));
const SAY_OVER_MS = 8000;

/** @type {Trouble | null} */
let shown = null;
let overTimer = 0;

/** @param {Trouble} trouble */
function words({ code, detail }) {
  const title = has(`trouble.${code}`) ? t(`trouble.${code}`) : t('trouble.store_error');
  const advice = has(`trouble.${code}.do`) ? t(`trouble.${code}.do`) : detail;
  const parts = [make('strong', { textContent: title }), document.createTextNode(` ${advice} `)];
  if (code === 'model_unreachable' && location.pathname !== '/settings') {
    parts.push(make('a', { href: '/settings', textContent: t('trouble.settings') }));
  }
  return make('p', { className: code === 'model_unreachable' ? 'mild' : '' }, icon('warning'), make('span', {}, ...parts));
}

/** @param {Trouble | null} trouble */
function show(trouble) {
  if (trouble?.code !== shown?.code || trouble?.detail !== shown?.detail) {
    clearTimeout(overTimer);
    const over = shown && !trouble;
    shown = trouble;
    if (trouble) {
      place.replaceChildren(words(trouble));
    } else {
      // For ears only: the eye sees the line go.
      place.replaceChildren(make('p', { className: 'visually-hidden', textContent: t('trouble.over') }));
      overTimer = setTimeout(() => place.replaceChildren(), SAY_OVER_MS);
    }
    if (over) watched.dispatchEvent(new Event('recovered'));
  }
  watched.dispatchEvent(new CustomEvent('looked', { detail: trouble }));
}

const watch = new StatusWatch(document.body.dataset.known === 'yes', show);
document.addEventListener('assistant-refused', () => watch.lookNow());
