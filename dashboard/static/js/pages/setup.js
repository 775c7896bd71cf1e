import '../appearance.js';
import { call } from '../api.js';
import { t } from '../i18n.js';
import { byId, fieldError, onSubmit, showErrors } from './form.js';

const SHORTEST = 8;
const form = byId('setup');

// The fragment never reaches a server or its log; it leaves the address bar as well.
byId('token').value = decodeURIComponent(location.hash.slice(1));
if (location.hash) history.replaceState(null, '', location.pathname);
byId('token-field').hidden = byId('token').value !== '';

/** @returns {[string, string] | null} the field and what is wrong with it */
function mistake() {
  if (!byId('token').value.trim()) return ['token', t('setup.no_token')];
  if ([...byId('password').value].length < SHORTEST) return ['password', t('setup.short', { n: SHORTEST })];
  if (byId('repeat').value !== byId('password').value) return ['repeat', t('setup.differs')];
  return null;
}

onSubmit(form, async () => {
  const wrong = mistake();
  if (wrong) {
    fieldError(form, ...wrong);
    byId(wrong[0]).focus();
    return;
  }
  try {
    await call('POST', '/api/setup', { token: byId('token').value.trim(), password: byId('password').value }, { door: true });
    location.assign('/settings?first=1');
  } catch (error) {
    showErrors(form, error);
    byId('done-hint').hidden = error.status !== 410;
    if (error.status === 401 || error.status === 403) byId('token-field').hidden = false;
  }
});
