// The list of threads: open, search, rename, delete.
import { html, LitElement, nothing, repeat } from '../../vendor/lit.js';
import { call } from '../api.js';
import { icon } from '../icon.js';
import { language, t } from '../i18n.js';
import { confirmDialog } from './confirm.js';

const PAGE = 100;
const DAY = 24 * 3600 * 1000;

/** The pages of the menu; the server's list is in the page. @type {{ path: string, icon: string, title: string }[]} */
const menu = JSON.parse(document.getElementById('menu')?.textContent ?? '[]');

/** @typedef {{ id: string, title: string, created_at: string, updated_at?: string }} Thread */

/** @param {Thread} thread */
const lastUsed = thread => new Date(thread.updated_at ?? thread.created_at);

/** @param {Date} date */
function groupOf(date) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (date.getTime() >= midnight) return t('threads.today');
  if (date.getTime() >= midnight - DAY) return t('threads.yesterday');
  if (date.getTime() >= midnight - 7 * DAY) return t('threads.week');
  return t('threads.older');
}

class AiSidebar extends LitElement {
  static properties = {
    current: { attribute: false }, threads: { state: true }, query: { state: true },
    renaming: { state: true }, problem: { state: true }, loaded: { state: true },
  };

  constructor() {
    super();
    /** @type {string | null} */
    this.current = null;
    /** @type {Thread[]} */
    this.threads = [];
    this.query = '';
    /** @type {string | null} */
    this.renaming = null;
    this.problem = '';
    this.loaded = false;
    /** @type {string | null} */
    this.next = null;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    void this.refresh();
  }

  async refresh() {
    try {
      const page = await call('GET', `/api/threads?limit=${PAGE}`);
      this.threads = page.items;
      this.next = page.next ?? null;
      this.problem = '';
    } catch (error) {
      this.problem = error.message;
    }
    this.loaded = true;
    this.dispatchEvent(new Event('loaded'));
  }

  async #more() {
    const page = await call('GET', `/api/threads?limit=${PAGE}&cursor=${encodeURIComponent(this.next ?? '')}`);
    const known = new Set(this.threads.map(thread => thread.id));
    this.threads = [...this.threads, ...page.items.filter((/** @type {Thread} */ thread) => !known.has(thread.id))];
    this.next = page.next ?? null;
  }

  /** @param {InputEvent} event */
  async #search(event) {
    this.query = /** @type {HTMLInputElement} */ (event.target).value;
    while (this.query && this.next) await this.#more();
  }

  /** @param {string | null} id */
  #open(id) {
    this.dispatchEvent(new CustomEvent('open-thread', { detail: { id } }));
  }

  /**
   * @param {MouseEvent} event
   * @param {string | null} id
   */
  #follow(event, id) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#open(id);
  }

  /** @param {string} selector of what takes the focus from something that is gone */
  async #focus(selector) {
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.querySelector(selector))?.focus();
  }

  /** @param {string} id */
  async #startRename(id) {
    this.renaming = id;
    await this.updateComplete;
    const input = /** @type {HTMLInputElement | null} */ (this.querySelector('input.rename'));
    input?.focus();
    input?.select();
  }

  /**
   * @param {Thread} thread
   * @param {string} value
   */
  async #rename(thread, value) {
    if (this.renaming !== thread.id) return;
    this.renaming = null;
    const title = value.trim();
    if (!title || title === thread.title) return;
    try {
      await call('PATCH', `/api/threads/${thread.id}`, { title });
      this.threads = this.threads.map(other => (other.id === thread.id ? { ...other, title } : other));
      this.dispatchEvent(new CustomEvent('renamed', { detail: { id: thread.id, title } }));
    } catch (error) {
      this.problem = error.message;
    }
  }

  /** @param {Thread} thread */
  async #delete(thread) {
    const title = thread.title || t('threads.untitled');
    const sure = await confirmDialog({ title: t('delete.title'), text: t('delete.text', { title }), yes: t('delete.yes') });
    if (!sure) return;
    const place = this.threads.indexOf(thread);
    const next = this.threads[place + 1] ?? this.threads[place - 1];
    try {
      await call('DELETE', `/api/threads/${thread.id}`);
      this.threads = this.threads.filter(other => other.id !== thread.id);
      if (thread.id === this.current) this.#open(null);
      else void this.#focus(next ? `a[href="/t/${next.id}"]` : '.new-chat');
    } catch (error) {
      this.problem = error.message;
    }
  }

  get #found() {
    const words = this.query.trim().toLocaleLowerCase(language);
    return words ? this.threads.filter(thread => thread.title?.toLocaleLowerCase(language).includes(words)) : this.threads;
  }

  /** @param {Thread} thread */
  #renameInput(thread) {
    const keys = (/** @type {KeyboardEvent} */ event) => {
      const input = /** @type {HTMLInputElement} */ (event.target);
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      if (event.key === 'Enter') void this.#rename(thread, input.value);
      else event.stopPropagation();
      this.renaming = null;
      void this.#focus(`a[href="/t/${thread.id}"]`);
    };
    return html`<input class="rename" dir="auto" aria-label=${t('rename.label')} .value=${thread.title ?? ''} maxlength="200"
      @keydown=${keys} @blur=${(/** @type {FocusEvent} */ event) =>
        this.#rename(thread, /** @type {HTMLInputElement} */ (event.target).value)}>`;
  }

  /** @param {Thread} thread */
  #row(thread) {
    const title = thread.title || t('threads.untitled');
    if (thread.id === this.renaming) return html`<li class="thread">${this.#renameInput(thread)}</li>`;
    return html`<li class="thread ${thread.id === this.current ? 'current' : ''}">
      <a href="/t/${thread.id}" dir="auto" aria-current=${thread.id === this.current ? 'page' : nothing} title=${title}
        @click=${(/** @type {MouseEvent} */ event) => this.#follow(event, thread.id)}>${title}</a>
      <span class="thread-actions">
        <button type="button" class="ghost icon-button small" aria-label=${t('rename.action', { title })} title=${t('rename.short')}
          @click=${() => this.#startRename(thread.id)}>${icon('rename')}</button>
        <button type="button" class="ghost icon-button small" aria-label=${t('delete.action', { title })} title=${t('delete.yes')}
          @click=${() => this.#delete(thread)}>${icon('delete')}</button>
      </span>
    </li>`;
  }

  #groups() {
    /** @type {Map<string, Thread[]>} */
    const groups = new Map();
    for (const thread of this.#found) {
      const name = groupOf(lastUsed(thread));
      groups.set(name, [...(groups.get(name) ?? []), thread]);
    }
    return [...groups];
  }

  #empty() {
    if (!this.loaded || this.problem || this.#found.length) return nothing;
    return html`<p class="quiet">${t(this.query ? 'threads.none_found' : 'threads.none')}</p>`;
  }

  render() {
    return html`<div class="sidebar-top">
        <a class="brand" href="/" @click=${(/** @type {MouseEvent} */ event) => this.#follow(event, null)}>
          <img class="logo" src="/static/icon.svg" alt="" width="28" height="28"><span>${t('app.name')}</span></a>
        <button type="button" class="ghost icon-button close-sidebar" aria-label=${t('threads.close')}
          @click=${() => this.dispatchEvent(new Event('close'))}>${icon('close')}</button>
      </div>
      <a class="button new-chat" href="/" @click=${(/** @type {MouseEvent} */ event) => this.#follow(event, null)}>
        ${icon('new')}<span>${t('threads.new')}</span></a>
      <label class="search">${icon('search')}<span class="visually-hidden">${t('threads.search')}</span>
        <input type="search" dir="auto" placeholder=${t('threads.search')} .value=${this.query} @input=${this.#search}></label>
      <nav aria-label=${t('threads.title')}>
        ${this.problem ? html`<p class="quiet" role="alert">${this.problem}</p>` : nothing}
        ${this.#empty()}
        ${this.#groups().map(([name, threads]) => html`<section><h2>${name}</h2>
          <ul>${repeat(threads, thread => thread.id, thread => this.#row(thread))}</ul></section>`)}
        ${this.next && !this.query ? html`<button type="button" class="ghost wide" @click=${this.#more}>${t('threads.more')}</button>` : nothing}
      </nav>
      <div class="sidebar-foot">
        ${menu.map(page => html`<a class="ghost button" href=${page.path}>${icon(page.icon)}<span>${t(page.title)}</span></a>`)}
        <button type="button" class="ghost icon-button" data-action="theme" aria-label=${t('theme.toggle')} title=${t('theme.toggle')}>${icon('theme')}</button>
        <button type="button" class="ghost small-text" data-action="language" data-language=${language === 'ru' ? 'en' : 'ru'}
          lang=${language === 'ru' ? 'en' : 'ru'} title=${language === 'ru' ? 'English' : 'Русский'}>${language === 'ru' ? 'EN' : 'RU'}</button>
      </div>`;
  }
}
customElements.define('ai-sidebar', AiSidebar);
