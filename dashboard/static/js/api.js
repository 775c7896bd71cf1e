// Calls of the JSON API. A failure is always an ApiError whose message may be shown.
import { has, language, t } from './i18n.js';

export class ApiError extends Error {
  /**
   * @param {number} status 0 when the server could not be reached
   * @param {string} code
   * @param {string} detail
   * @param {number} [retryAfter] seconds
   * @param {{ field: string, problem: string }[]} [errors] one per field
   */
  constructor(status, code, detail, retryAfter, errors = []) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.errors = errors;
  }
}

/** Where to sign in and come back to this page. */
export function goToLogin() {
  const here = location.pathname + location.search;
  location.assign(here === '/' ? '/login' : `/login?next=${encodeURIComponent(here)}`);
}

/** Let the line at the top of the page find out what is wrong. */
const refused = () => document.dispatchEvent(new Event('assistant-refused'));

/**
 * What is wrong with which field: a list, or one at the beginning of the sentence.
 * @param {any} problem
 * @returns {{ field: string, problem: string }[]}
 */
function errorsOf({ errors, detail }) {
  const [, field, words] = /^\w+\.(\w+): (.+)$/s.exec(detail ?? '') ?? [];
  return errors?.length || !field ? errors ?? [] : [{ field, problem: words }];
}

/**
 * @param {Response} response
 * @returns {Promise<ApiError>}
 */
async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get('Retry-After')) || undefined;
  const code = String(problem.code || 'unknown');
  const detail = problem.detail || problem.title || t('error.status', { status: response.status });
  // The server speaks English and says more; where that is not understood, the catalogue has the essence.
  const shown = language !== 'en' && has(`problem.${code}`) ? t(`problem.${code}`) : String(detail);
  return new ApiError(response.status, code, shown, wait, errorsOf(problem));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {{ door?: boolean, signal?: AbortSignal }} [options] door: 401 is an answer, not a lost session
 * @returns {Promise<any>} the JSON answer, null where there is none
 */
export async function call(method, path, body, { door = false, signal } = {}) {
  const hasBody = method !== 'GET' && method !== 'DELETE';
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: hasBody ? { 'Content-Type': 'application/json' } : {},
      body: hasBody ? JSON.stringify(body ?? {}) : undefined,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    refused();
    throw new ApiError(0, 'offline', t('error.offline'));
  }
  if (response.status === 401 && !door) goToLogin();
  if (response.status === 503) refused();
  if (!response.ok) throw await failure(response);
  if (response.status === 204) return null;
  return response.json().catch(() => null);
}

/** An id for something that the server does not know yet; works without a secure context too. */
export function freshId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), b => b.toString(16).padStart(2, '0')).join('');
}
