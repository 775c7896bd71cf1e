// Copying, also where the page came over plain HTTP and the browser offers no clipboard.
import { t } from '../i18n.js';

/** @param {string} text */
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = document.createElement('textarea');
  box.value = text;
  document.body.append(box);
  box.select();
  document.execCommand('copy');
  box.remove();
}

/**
 * Copy and say so on the button for a moment.
 * @param {HTMLElement} button
 * @param {string} text
 */
export async function copyFrom(button, text) {
  const label = button.title;
  await write(text);
  const named = button.querySelector('.label') ?? (button.childElementCount ? null : button);
  if (named) named.textContent = t('copied');
  button.classList.add('copied');
  setTimeout(() => {
    if (named) named.textContent = label;
    button.classList.remove('copied');
  }, 1600);
}
