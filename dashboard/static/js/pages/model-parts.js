// Parts of the model card: servers found nearby, the list of model names, the report of a test.
import { call } from '../api.js';
import { icon, make } from '../elements.js';
import { has, t } from '../i18n.js';
import { byId } from './form.js';

const NAMES = { lmstudio: 'LM Studio', ollama: 'Ollama', llamacpp: 'llama.cpp', vllm: 'vLLM', openai: 'OpenAI API' };

/** @typedef {{ kind: string, base_url: string, models: { id: string, kind?: string, loaded?: boolean }[],
 *   needs_key?: boolean }} Server */

/** @param {Server} server */
const chatModels = server => server.models.filter(model => (model.kind ?? 'chat') === 'chat');

/** Names for the model field; a server that is away just offers none. */
export async function fillModels() {
  const { servers } = await call('GET', '/api/models').catch(() => ({ servers: [] }));
  const ids = new Set(servers.flatMap((/** @type {Server} */ server) => chatModels(server).map(model => model.id)));
  byId('models').replaceChildren(...[...ids].map(id => new Option(id, id)));
}

/** @param {Server} server */
function serverButton(server) {
  const models = chatModels(server);
  const name = /** @type {Record<string, string>} */ (NAMES)[server.kind] ?? server.kind;
  const button = make('button', { type: 'button', className: 'server' },
    icon('model'),
    make('span', {}, make('strong', { textContent: name }), make('span', { textContent: server.base_url })),
    make('span', { className: 'count', textContent: server.needs_key ? t('model.needs_key') : t('model.count', { n: models.length }) }));
  button.addEventListener('click', () => {
    byId('base_url').value = server.base_url;
    byId('name').value = (models.find(model => model.loaded) ?? models[0])?.id ?? '';
    byId('models').replaceChildren(...models.map(model => new Option(model.id, model.id)));
    byId(server.needs_key ? 'api_key' : 'name').focus();
  });
  return button;
}

export async function findServers() {
  const place = byId('servers');
  const button = byId('find');
  button.disabled = true;
  place.textContent = t('model.finding');
  try {
    const { servers } = await call('GET', '/api/models');
    if (servers.length) place.replaceChildren(...servers.map(serverButton));
    else place.replaceChildren(make('p', { className: 'hint', textContent: t('model.none_found') }));
  } catch (error) {
    place.replaceChildren(make('p', { className: 'hint', textContent: error.message }));
  }
  button.disabled = false;
}

/** @typedef {{ name: string, ok: boolean | null, detail: string }} Step */

const LOOK = { true: ['ok', 'done'], false: ['bad', 'error'], null: ['unsure', 'unknown'], no: ['no', 'info'] };
// Nice to have: a model without it is no worse.
const OPTIONAL = ['reasoning'];

/** @param {Step} step */
function reportStep({ name, ok, detail }) {
  const key = `probe.step.${name}`;
  const result = ok === false && OPTIONAL.includes(name) ? 'no' : String(ok ?? null);
  const [look, symbol] = LOOK[/** @type {keyof typeof LOOK} */ (result)];
  return make('li', { className: look }, icon(symbol),
    make('span', {}, make('strong', { textContent: has(key) ? t(key) : name }),
      make('span', { textContent: detail })),
    make('span', { className: 'visually-hidden', textContent: t(`probe.was.${look}`) }));
}

/** @param {{ steps: Step[], refused: string | null }} report refused: why it cannot be used, if so */
export function showReport({ steps, refused }) {
  const ok = !refused;
  byId('report').replaceChildren(
    make('p', { className: `verdict ${ok ? 'ok' : 'bad'}` }, icon(ok ? 'done' : 'error'),
      make('span', { textContent: refused || t('probe.good') })),
    make('ol', { className: 'steps' }, ...steps.map(reportStep)));
}
