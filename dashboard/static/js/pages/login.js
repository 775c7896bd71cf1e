import '../appearance.js';
import { call } from '../api.js';
import { t } from '../i18n.js';
import { byId, fieldError, onSubmit, showErrors } from './form.js';

/** Where to go on: a page of ours, whatever the address says. */
function destination() {
  const next = new URLSearchParams(location.search).get('next') ?? '/';
  const url = URL.canParse(next, location.origin) ? new URL(next, location.origin) : null;
  // The whole address: a path alone may begin with two slashes, which name a host.
  return url?.origin === location.origin ? url.href : '/';
}

const form = byId('login');
onSubmit(form, async () => {
  const password = byId('password').value;
  if (!password) {
    fieldError(form, 'password', t('login.empty'));
    byId('password').focus();
    return;
  }
  try {
    await call('POST', '/api/login', { password }, { door: true });
    location.assign(destination());
  } catch (error) {
    if (error.status === 401) {
      fieldError(form, 'password', t('login.wrong'));
      byId('password').select();
    } else {
      showErrors(form, error);
    }
  }
});
