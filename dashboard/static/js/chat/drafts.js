// What is typed but not sent, and what is on its way but not accepted: per thread, for as long as the tab lives.

const draftKey = (/** @type {string | null} */ threadId) => `draft:${threadId ?? 'new'}`;
const unsentKey = (/** @type {string | null} */ threadId) => `unsent:${threadId ?? 'new'}`;

/**
 * @param {string} key
 * @param {string} value
 */
function keep(key, value) {
  if (value) sessionStorage.setItem(key, value);
  else sessionStorage.removeItem(key);
}

/** @param {string | null} threadId */
export const loadDraft = threadId => sessionStorage.getItem(draftKey(threadId)) ?? '';

/**
 * @param {string | null} threadId
 * @param {string} text
 */
export const saveDraft = (threadId, text) => keep(draftKey(threadId), text);

/** @typedef {{ id: string, text: string }} Unsent a message with the id that it keeps however often it is sent */

/**
 * @param {string | null} threadId
 * @returns {Unsent | undefined}
 */
export const loadUnsent = threadId => JSON.parse(sessionStorage.getItem(unsentKey(threadId)) ?? 'null') ?? undefined;

/**
 * @param {string | null} threadId
 * @param {Unsent} unsent
 */
export const saveUnsent = (threadId, unsent) => keep(unsentKey(threadId), JSON.stringify(unsent));

/**
 * @param {string | null} threadId
 * @param {string} [id] only if it is this one
 */
export function forgetUnsent(threadId, id) {
  if (!id || loadUnsent(threadId)?.id === id) keep(unsentKey(threadId), '');
}
