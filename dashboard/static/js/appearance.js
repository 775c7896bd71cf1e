// Theme and language: kept in cookies, so that the server sends the right page from the start.

const YEAR = 365 * 24 * 3600;

/**
 * @param {string} name
 * @param {string} value
 */
function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax`;
}

/** Light to dark and back, beginning with the one that is not on show. */
export function toggleTheme() {
  const root = document.documentElement;
  const current = root.dataset.theme;
  const dark = current === 'dark' || (current !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  const theme = dark ? 'light' : 'dark';
  root.dataset.theme = theme;
  document.querySelector('meta[name=color-scheme]')?.setAttribute('content', theme);
  remember('asst_theme', theme);
}

/** @param {string} language */
export function setLanguage(language) {
  remember('asst_lang', language);
  location.reload();
}

document.addEventListener('click', event => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest?.('[data-action]'));
  if (button?.dataset.action === 'theme') toggleTheme();
  if (button?.dataset.action === 'language') setLanguage(button.dataset.language ?? 'en');
});
