// What the forms share: errors at their fields, one request at a time.
import { ApiError } from '../api.js';
import { language, t } from '../i18n.js';

/**
 * @param {HTMLElement} scope
 * @param {string} id
 * @param {string} text
 */
export function fieldError(scope, id, text) {
  const slot = scope.querySelector(`#${CSS.escape(id)}-error`);
  const input = scope.querySelector(`#${CSS.escape(id)}`);
  if (!slot || !input) return false;
  slot.textContent = text;
  if (text) input.setAttribute('aria-invalid', 'true');
  else input.removeAttribute('aria-invalid');
  return true;
}

/** @param {HTMLElement} form */
export function clearErrors(form) {
  for (const slot of form.querySelectorAll('.field-error, .form-error')) slot.textContent = '';
  for (const input of form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
}

/**
 * What is wrong with a value, in the language of the page.
 * @param {string} id
 * @param {string} problem in English
 */
function inWords(id, problem) {
  if (language === 'en') return problem;
  const { min: least = '', max: most = '' } = byId(id) ?? {};
  return least && most ? t('field.between', { least, most }) : t('field.invalid');
}

/**
 * Show what went wrong: at the fields that the server names, else below the form's fields.
 * @param {HTMLElement} form
 * @param {unknown} error
 * @param {Record<string, string>} [ids] server's field name to the input's id where they differ
 */
export function showErrors(form, error, ids = {}) {
  if (!(error instanceof ApiError)) throw error;
  let first = '';
  for (const { field, problem } of error.errors) {
    const name = field.split('.').at(-1) ?? '';
    const id = ids[name] ?? name;
    if (id && fieldError(form, id, inWords(id, problem))) first ||= id;
  }
  if (first) {
    /** @type {HTMLElement | null} */ (form.querySelector(`#${CSS.escape(first)}`))?.focus();
    return;
  }
  const slot = form.querySelector('.form-error');
  if (slot) slot.textContent = error.message;
}

/**
 * Run `submit` on each submission; buttons rest while it runs.
 * @param {HTMLFormElement} form
 * @param {() => Promise<void>} submit
 */
export function onSubmit(form, submit) {
  form.addEventListener('submit', async event => {
    event.preventDefault();
    if (form.getAttribute('aria-busy') === 'true') return;
    clearErrors(form);
    form.setAttribute('aria-busy', 'true');
    try {
      await submit();
    } finally {
      form.removeAttribute('aria-busy');
    }
  });
}

/** @param {string} id @returns {any} */
export const byId = id => document.getElementById(id);
