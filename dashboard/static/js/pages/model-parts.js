// Parts of the model card: servers found nearby, the list of model names, the report of a test.
import { call } from '../api.js';
import { icon, make } from '../elements.js';
import { formatNumber, has, language, t } from '../i18n.js';
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

/** @typedef {{ name: string, ok: boolean | null, detail: string, code?: string }} Step */

const LOOK = { true: ['ok', 'done'], false: ['bad', 'error'], null: ['unsure', 'unknown'], no: ['no', 'info'] };
// Nice to have: a model without it is no worse.
const OPTIONAL = ['reasoning'];

/** @typedef {{ steps: Step[], refused: string | null, refused_code?: string, model?: string,
 *   capabilities?: { context_window?: number | null } }} Report refused: why it cannot be used, if so */

/**
 * What a step found. The server's own words tell more, but in English, and of errors too much.
 * @param {Step} step
 * @param {string} look
 * @param {Report} report
 */
function found({ name, detail, code }, look, { model = '', capabilities }) {
  if (code && has(`failure.is.${code}`)) return t(`failure.is.${code}`);
  const key = `probe.said.${name}.${look}`;
  if (language === 'en' || !has(key)) return detail;
  return t(key, { model, size: formatNumber(capabilities?.context_window ?? 0) });
}

/**
 * @param {Step} step
 * @param {Report} report
 */
function reportStep(step, report) {
  const { name, ok, detail } = step;
  const key = `probe.step.${name}`;
  const result = ok === false && OPTIONAL.includes(name) ? 'no' : String(ok ?? null);
  const [look, symbol] = LOOK[/** @type {keyof typeof LOOK} */ (result)];
  return make('li', { className: look, title: detail }, icon(symbol),
    make('span', {}, make('strong', { textContent: has(key) ? t(key) : name }),
      make('span', { textContent: found(step, look, report) })),
    make('span', { className: 'visually-hidden', textContent: t(`probe.was.${look}`) }));
}

/** @param {Report} report */
export function showReport(report) {
  const { steps, refused, refused_code: code } = report;
  const ok = !refused;
  const why = code && has(`failure.is.${code}`) ? t(`failure.is.${code}`) : refused;
  const verdict = make('p', { className: `verdict ${ok ? 'ok' : 'bad'}` }, icon(ok ? 'done' : 'error'),
    make('span', { textContent: ok ? t('probe.good') : why }));
  const parts = [verdict, make('ol', { className: 'steps' }, ...steps.map(step => reportStep(step, report)))];
  if (why !== refused) {
    parts.push(make('details', {}, make('summary', { textContent: t('failure.details') }),
      make('p', { textContent: refused, dir: 'auto' })));
  }
  byId('report').replaceChildren(...parts);
}
