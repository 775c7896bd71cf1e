// A question with two answers, in the browser's own modal dialog.
import { make } from '../elements.js';
import { t } from '../i18n.js';

/**
 * @param {{ title: string, text: string, yes: string }} question
 * @returns {Promise<boolean>}
 */
export function confirmDialog({ title, text, yes }) {
  const form = /** @type {HTMLFormElement} */ (make('form', { method: 'dialog' },
    make('h2', { id: 'confirm-title', textContent: title }),
    make('p', { textContent: text, dir: 'auto' }),
    make('div', { className: 'dialog-actions' },
      make('button', { value: 'no', textContent: t('cancel'), autofocus: true }),
      make('button', { value: 'yes', className: 'danger', textContent: yes }))));
  const dialog = /** @type {HTMLDialogElement} */ (make('dialog', { className: 'confirm' }, form));
  dialog.setAttribute('aria-labelledby', 'confirm-title');
  document.body.append(dialog);
  dialog.showModal();
  return new Promise(resolve => dialog.addEventListener('close', () => {
    dialog.remove();
    resolve(dialog.returnValue === 'yes');
  }));
}
