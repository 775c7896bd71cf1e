// One open thread: its conversation, its stream, and what the user does to it.
import { ApiError, call, freshId } from '../api.js';
import { t } from '../i18n.js';
import { offline } from '../reach.js';
import { Conversation } from './conversation.js';
import { forgetUnsent, loadUnsent, saveUnsent } from './drafts.js';
import { StreamSlot } from './slots.js';
import { ThreadStream } from './stream.js';

const PAGE = 50;
const FLUSH_MS = 40;
const HIDDEN_MS = 30_000;
const SAY_LOST_MS = 3000;
const STALE_MS = 300_000;
const TITLE_LENGTH = 60;

/** @param {string} text */
const titleOf = text => {
  const line = text.trim().split('\n')[0].trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
};

export class ThreadSession extends EventTarget {
  constructor() {
    super();
    /** @type {string | null} */
    this.threadId = null;
    this.conversation = new Conversation();
    this.title = '';
    /** @type {number | null} cursor to older messages */
    this.before = null;
    this.loading = false;
    /** why the thread cannot be shown */
    this.problem = '';
    /** whether loading it again may help */
    this.failed = false;
    this.lost = false;
    this.lostTimer = 0;
    /** @type {ThreadStream | undefined} */
    this.stream = undefined;
    /** @type {AbortController | undefined} */
    this.opening = undefined;
    /** @type {{ id: string, text: string } | undefined} a message whose sending failed */
    this.unsent = undefined;
    this.slot = new StreamSlot(() => this.stream?.close());
    this.flushTimer = 0;
    this.hiddenTimer = 0;
    this.hiddenAt = 0;
    document.addEventListener('visibilitychange', () => this.#visibility());
    addEventListener('online', () => this.stream?.hurry());
    addEventListener('offline', () => this.stream && !this.stream.closed && this.stream.open());
    for (const type of ['focus', 'pointerdown', 'keydown']) addEventListener(type, () => this.#used(), { passive: true });
  }

  #reset() {
    clearTimeout(this.lostTimer);
    const fresh = { title: '', before: null, loading: false, problem: '', lost: false, lostTimer: 0, stream: undefined };
    Object.assign(this, fresh, { conversation: new Conversation() });
  }

  #changed() {
    clearTimeout(this.flushTimer);
    this.flushTimer = 0;
    this.dispatchEvent(new Event('change'));
  }

  // Pieces come faster than anyone reads; they are drawn together.
  #changedSoon() {
    this.flushTimer ||= setTimeout(() => this.#changed(), FLUSH_MS);
  }

  /** @param {string | null} threadId */
  async open(threadId) {
    this.opening?.abort();
    this.stream?.close();
    this.#reset();
    this.threadId = threadId;
    this.unsent = loadUnsent(threadId);
    this.failed = false;
    if (!threadId) {
      this.#changed();
      return;
    }
    this.opening = new AbortController();
    const { signal } = this.opening;
    this.loading = true;
    this.#changed();
    try {
      const thread = await call('GET', `/api/threads/${threadId}?limit=${PAGE}`, undefined, { signal });
      this.title = thread.title ?? '';
      this.before = thread.messages_before ?? null;
      this.conversation.load(thread);
      this.#findArrived(thread.messages);
      this.#follow(thread.events_since ?? '');
    } catch (error) {
      if (signal.aborted) return;
      this.failed = error.status !== 404;
      this.problem = error instanceof ApiError && error.status === 404 ? t('thread.missing') : String(error.message);
    }
    this.loading = false;
    this.#changed();
  }

  // A message that was on its way when the page was left may have arrived.
  #findArrived(/** @type {any[]} */ messages) {
    const { unsent } = this;
    if (!unsent || !messages.some(message => message.id === unsent.id)) return;
    this.unsent = undefined;
    forgetUnsent(this.threadId, unsent.id);
    this.dispatchEvent(new CustomEvent('arrived', { detail: unsent.text }));
  }

  /** The assistant answers again: load what could not be loaded. */
  recover() {
    if (this.failed) void this.open(this.threadId);
    else this.stream?.hurry();
  }

  /** @param {string} since */
  #follow(since) {
    this.stream = new ThreadStream(/** @type {string} */ (this.threadId), since, {
      event: event => this.#event(event),
      connected: yes => this.#connected(yes),
      refused: () => void this.#askWhy(),
      outdated: () => void this.open(this.threadId),
      deleted: () => this.#gone('thread.deleted'),
    });
    this.slot.claim();
    this.stream.open();
  }

  /** @param {any} event */
  #event(event) {
    const missing = this.conversation.apply(event);
    if (missing) void this.#fetchQuestion(event);
    if (event.type.endsWith('_delta')) this.#changedSoon();
    else this.#changed();
    if (event.type === 'turn_finished') this.dispatchEvent(new Event('turn-finished'));
  }

  /** @param {any} event */
  async #fetchQuestion(event) {
    const id = this.threadId;
    const thread = await call('GET', `/api/threads/${id}?limit=10`).catch(() => null);
    if (!thread || id !== this.threadId) return;
    this.conversation.merge(thread.messages, event);
    this.#changed();
  }

  /** @param {boolean} yes */
  #connected(yes) {
    if (yes || offline()) {
      clearTimeout(this.lostTimer);
      this.lostTimer = 0;
      this.#setLost(!yes);
    } else {
      this.lostTimer ||= setTimeout(() => this.#setLost(true), SAY_LOST_MS);
    }
  }

  /** @param {boolean} lost */
  #setLost(lost) {
    if (this.lost === lost) return;
    this.lost = lost;
    this.#changed();
  }

  // A stream says nothing about the status it was refused with; an ordinary call does.
  async #askWhy() {
    const { stream, threadId } = this;
    const error = await call('GET', `/api/threads/${threadId}?limit=1`).then(() => null, reason => reason);
    if (error?.status !== 404 || stream !== this.stream) return;
    stream?.close();
    this.#gone('thread.deleted');
  }

  /** @param {string} why */
  #gone(why) {
    clearTimeout(this.lostTimer);
    Object.assign(this, { lost: false, problem: t(why), conversation: new Conversation() });
    this.#changed();
    this.dispatchEvent(new Event('gone'));
  }

  #visibility() {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenAt = Date.now();
      this.hiddenTimer = setTimeout(() => {
        this.stream?.close();
        this.slot.release();
      }, HIDDEN_MS);
    } else {
      this.#used();
    }
  }

  #used() {
    if (document.hidden || !this.stream?.closed || this.problem) return;
    // After a long absence the journal may have dropped what we missed.
    if (this.hiddenAt && Date.now() - this.hiddenAt > STALE_MS) void this.open(this.threadId);
    else this.resume();
    this.hiddenAt = 0;
  }

  resume() {
    this.slot.claim();
    this.stream?.open();
  }

  /** @param {string} text */
  async send(text) {
    // The same words after a failure are the same message: the first try may have arrived.
    if (this.unsent?.text !== text) this.unsent = { id: freshId(), text };
    const { unsent, conversation, threadId: before } = this;
    const { id } = unsent;
    // Words that wait for an answer of the server outlive a reload of the page.
    saveUnsent(before, unsent);
    const item = conversation.ask(id, text);
    this.#changed();
    try {
      const threadId = before ?? await this.#create(text, conversation);
      if (!before) {
        forgetUnsent(null, id);
        saveUnsent(threadId, unsent);
      }
      conversation.accepted(item, await call('POST', `/api/threads/${threadId}/messages`, { text, id }));
      forgetUnsent(threadId, id);
      if (this.unsent === unsent) this.unsent = undefined;
    } catch (error) {
      conversation.withdraw(item);
      throw error;
    } finally {
      this.#changed();
    }
  }

  /**
   * @param {string} text
   * @param {Conversation} conversation
   */
  async #create(text, conversation) {
    const thread = await call('POST', '/api/threads', { title: titleOf(text) });
    if (conversation === this.conversation) {
      this.threadId = thread.id;
      this.title = thread.title ?? '';
      this.#follow('');
      this.dispatchEvent(new CustomEvent('created', { detail: thread }));
    }
    return thread.id;
  }

  async loadOlder() {
    const { threadId, before } = this;
    if (!before) return;
    const query = `limit=${PAGE}&before=${before}`;
    const thread = await call('GET', `/api/threads/${threadId}?${query}`);
    if (threadId !== this.threadId) return;
    this.conversation.prepend(thread.messages);
    this.before = thread.messages_before ?? null;
    this.#changed();
  }

  async stop() {
    const { conversation } = this;
    if (!conversation.activeRun) return;
    conversation.stopping = true;
    this.#changed();
    try {
      await call('POST', `/api/runs/${conversation.activeRun}/cancel`);
    } catch (error) {
      conversation.stopping = false;
      this.#changed();
      throw error;
    }
  }

  async retry() {
    this.conversation.retried(await call('POST', `/api/threads/${this.threadId}/retry`));
    this.#changed();
  }

  /**
   * @param {string} approvalId
   * @param {string} decision
   */
  async decide(approvalId, decision) {
    await call('POST', `/api/approvals/${approvalId}`, { decision });
  }
}
