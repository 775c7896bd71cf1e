// What is typed but not sent, per thread, for as long as the tab lives.

const key = (/** @type {string | null} */ threadId) => `draft:${threadId ?? 'new'}`;

/** @param {string | null} threadId */
export const loadDraft = threadId => sessionStorage.getItem(key(threadId)) ?? '';

/**
 * @param {string | null} threadId
 * @param {string} text
 */
export function saveDraft(threadId, text) {
  if (text) sessionStorage.setItem(key(threadId), text);
  else sessionStorage.removeItem(key(threadId));
}
