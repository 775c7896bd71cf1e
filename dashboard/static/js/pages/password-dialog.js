// Some changes ask for the password once more; this asks for it and says whether it was right.
import { call } from '../api.js';
import { t } from '../i18n.js';

/** @returns {Promise<boolean>} false when the user would rather not */
export function confirmPassword() {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById('reauth'));
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector('form'));
  const input = /** @type {HTMLInputElement} */ (dialog.querySelector('input'));
  const error = /** @type {HTMLElement} */ (dialog.querySelector('.field-error'));
  form.reset();
  error.textContent = '';
  let right = false;
  form.onsubmit = async event => {
    event.preventDefault();
    try {
      await call('POST', '/api/reauth', { password: input.value }, { door: true });
      right = true;
      dialog.close();
    } catch (reason) {
      error.textContent = reason.status === 401 ? t('login.wrong') : reason.message;
      input.select();
    }
  };
  dialog.querySelector('button[type=button]')?.addEventListener('click', () => dialog.close(), { once: true });
  dialog.showModal();
  return new Promise(resolve => dialog.addEventListener('close', () => resolve(right), { once: true }));
}
