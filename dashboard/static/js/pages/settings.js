// Settings: each card reads its part of the API, saves only what was changed, and says how it went.
import '../appearance.js';
import { call } from '../api.js';
import { t } from '../i18n.js';
import { watched } from '../trouble.js';
import { byId, clearErrors, onSubmit, showErrors } from './form.js';
import { findServers, fillModels, showReport } from './model-parts.js';
import { confirmPassword } from './password-dialog.js';

/** @typedef {{ read: () => any, write: (value: any) => void }} Control */

const text = (/** @type {string} */ id) => ({
  read: () => byId(id).value.trim(),
  write: (/** @type {any} */ value) => { byId(id).value = value ?? ''; },
});
const number = (/** @type {string} */ id) => ({
  read: () => byId(id).valueAsNumber,
  write: (/** @type {any} */ value) => { byId(id).value = value ?? ''; },
});
const toggle = (/** @type {string} */ id) => ({
  read: () => byId(id).checked,
  write: (/** @type {any} */ value) => { byId(id).checked = Boolean(value); },
});
// A secret is never shown; an empty field keeps the stored one, which a button removes.
const secret = (/** @type {string} */ id) => ({
  read: () => byId(id).value,
  write: (/** @type {any} */ value) => {
    byId(id).value = '';
    byId(id).placeholder = '';
    byId(`${id}-state`).textContent = t(value?.set ? 'secret.stored' : 'secret.none');
    byId(`${id}-remove`).hidden = !value?.set;
  },
});

/**
 * A form on a group of values.
 * @param {{ id: string, controls: Record<string, Control>, ids?: Record<string, string>,
 *   secrets?: string[][], load: () => Promise<any>, save: (changes: any) => Promise<any>, after?: (values: any) => void }} options
 */
function card({ id, controls, ids, secrets = [], load, save, after }) {
  const form = byId(id);
  const said = form.querySelector('.saved');
  /** @type {Record<string, any>} */
  let stored = {};

  const show = (/** @type {any} */ values) => {
    for (const [name, control] of Object.entries(controls)) control.write(values[name]);
    stored = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.read()]));
    after?.(values);
  };
  const changes = () => Object.fromEntries(Object.entries(controls)
    .map(([name, control]) => [name, control.read()])
    .filter(([name, value]) => !Object.is(value, stored[name])));

  for (const [name, inputId] of secrets) {
    byId(`${inputId}-remove`).addEventListener('click', async () => {
      clearErrors(form);
      try {
        await withPassword(() => save({ [name]: '' }));
        const values = await load();
        controls[name].write(values[name]);
        stored[name] = controls[name].read();
        // OPENAI_API_KEY of the environment serves the cloud as well; only there it can be taken away.
        said.textContent = t(values[name].set ? 'secret.stays' : 'secret.removed');
        byId(inputId).focus();
      } catch (error) {
        showErrors(form, error, ids);
      }
    });
  }

  form.addEventListener('input', () => { said.textContent = ''; });
  onSubmit(form, async () => {
    said.textContent = '';
    try {
      await withPassword(() => save(changes()));
      show(await load());
      said.textContent = t('settings.saved');
    } catch (error) {
      showErrors(form, error, ids);
    }
  });
  const begin = () => load().then(show, error => {
    showErrors(form, error, ids);
    watched.addEventListener('recovered', () => {
      clearErrors(form);
      void begin();
    }, { once: true });
  });
  void begin();
}

/** @param {() => Promise<any>} action */
async function withPassword(action) {
  try {
    return await action();
  } catch (error) {
    if (error.code !== 'reauth_needed' || !await confirmPassword()) throw error;
    return action();
  }
}

/** @param {string} group */
const group = group => ({
  load: async () => (await call('GET', `/api/settings/${group}`)).values,
  save: (/** @type {any} */ changes) => call('PUT', `/api/settings/${group}`, changes),
});

card({
  id: 'model',
  controls: { base_url: text('base_url'), name: text('name'), api_key: secret('api_key') },
  secrets: [['api_key', 'api_key']],
  ...group('model'),
  after: () => void fillModels(),
});

card({
  id: 'cloud',
  controls: {
    enabled: toggle('enabled'), base_url: text('cloud_base_url'), model: text('cloud_model'),
    daily_tokens: number('daily_tokens'), api_key: secret('cloud_api_key'),
  },
  ids: { base_url: 'cloud_base_url', model: 'cloud_model', api_key: 'cloud_api_key' },
  secrets: [['api_key', 'cloud_api_key']],
  ...group('cloud'),
});

card({
  id: 'orchestrator',
  controls: {
    autonomous_mode: toggle('autonomous_mode'),
    max_iterations: number('max_iterations'),
    quality_threshold: number('quality_threshold'),
  },
  ...group('orchestrator'),
});

// A list is written with commas, as in the environment.
const list = (/** @type {string} */ id) => ({
  read: () => byId(id).value.split(',').map((/** @type {string} */ part) => part.trim()).filter(Boolean).join(', '),
  write: (/** @type {any} */ value) => { byId(id).value = (typeof value === 'string' ? value : (value ?? []).join(', ')); },
});
/** @type {Record<string, (id: string) => Control>} */
const KINDS = { secret, switch: toggle, whole: number, number, list, text, choice: text };

// Groups without a card of their own: the page draws their fields from the settings themselves.
for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll('form[data-group]'))) {
  const inputs = /** @type {HTMLElement[]} */ ([...form.querySelectorAll('[data-setting]')]);
  const of = (/** @type {HTMLElement} */ input) => input.dataset.setting ?? '';
  const kind = (/** @type {HTMLElement} */ input) => input.dataset.kind ?? 'text';
  const lists = new Set(inputs.filter(input => kind(input) === 'list').map(of));
  const { load, save } = group(form.id);
  card({
    id: form.id,
    controls: Object.fromEntries(inputs.map(input => [of(input), KINDS[kind(input)](input.id)])),
    ids: Object.fromEntries(inputs.map(input => [of(input), input.id])),
    secrets: inputs.filter(input => kind(input) === 'secret').map(input => [of(input), input.id]),
    load,
    // An emptied field goes back to its default.
    save: changes => save(Object.fromEntries(Object.entries(changes).map(([name, value]) => [name,
      lists.has(name) ? value.split(', ').filter(Boolean) : Number.isNaN(value) ? null : value]))),
  });
}

card({
  id: 'profile',
  controls: { name: text('profile_name'), time_zone: text('timezone'), language: text('profile_language') },
  ids: { name: 'profile_name', time_zone: 'timezone', language: 'profile_language' },
  load: () => call('GET', '/api/profile'),
  save: changes => call('PUT', '/api/profile', changes),
  after: values => {
    if (!values.time_zone) byId('timezone').placeholder = Intl.DateTimeFormat().resolvedOptions().timeZone;
  },
});

byId('zones').append(...Intl.supportedValuesOf('timeZone').map(zone => new Option(zone, zone)));

byId('find').addEventListener('click', () => void findServers());

byId('test').addEventListener('click', async () => {
  const form = byId('model');
  const button = byId('test');
  clearErrors(form);
  button.disabled = true;
  byId('report').replaceChildren();
  byId('report').textContent = t('model.testing');
  const entered = { base_url: byId('base_url').value.trim(), name: byId('name').value.trim(), api_key: byId('api_key').value };
  try {
    showReport(await call('POST', '/api/model/test', Object.fromEntries(Object.entries(entered).filter(([, value]) => value))));
  } catch (error) {
    byId('report').replaceChildren();
    showErrors(form, error);
  }
  button.disabled = false;
});

byId('sign-out').addEventListener('click', async () => {
  await call('POST', '/api/logout');
  location.assign('/login');
});

byId('welcome').hidden = !new URLSearchParams(location.search).has('first');
if (!byId('welcome').hidden) void findServers();

// An error message leads to the very control that helps.
document.getElementById(location.hash.slice(1))?.focus();
