// Shown in place of a page while nobody can be identified; loads that page once Redis is back.
import '../appearance.js';
import { watched } from '../trouble.js';

/** @param {import('../trouble.js').Trouble | null} trouble */
const storeIsBack = trouble => !trouble || !/^(store_|offline)/.test(trouble.code);

watched.addEventListener('looked', event => {
  if (storeIsBack(/** @type {CustomEvent} */ (event).detail)) location.reload();
});
