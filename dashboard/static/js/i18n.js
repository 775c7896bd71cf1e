// Texts and formats in the page's language. The server puts the catalogue into the page.

/** @type {Record<string, string | Record<string, string>>} */
const messages = JSON.parse(document.getElementById('i18n')?.textContent ?? '{}');

export const language = document.documentElement.lang || 'en';
const plurals = new Intl.PluralRules(language);

/**
 * The text of a key, with {name} replaced from `values`; `values.n` chooses the plural form.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const message = messages[key];
  if (message === undefined) throw new Error(`no text for ${key}`);
  const form = typeof message === 'string' ? message : message[plurals.select(Number(values.n))] ?? message.other;
  return form.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === 'number' ? formatNumber(value) : value ?? '';
  });
}

/** Whether the catalogue has a text for this key (for codes that the server may add to). */
export const has = (/** @type {string} */ key) => key in messages;

const numbers = new Intl.NumberFormat(language);
export const formatNumber = (/** @type {number} */ n) => numbers.format(n);

const clock = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const moment = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short', hourCycle: 'h23' });

/** @param {string | undefined} iso */
export const formatClock = iso => (iso ? clock.format(new Date(iso)) : '');

/** @param {string | undefined} iso */
export const formatMoment = iso => (iso ? moment.format(new Date(iso)) : '');
