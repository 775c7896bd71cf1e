// The chat page: threads on the left, the open conversation, the composer.
import { html, LitElement, nothing, repeat } from '../../vendor/lit.js';
import '../appearance.js';
import { icon } from '../icon.js';
import { t } from '../i18n.js';
import { offline } from '../reach.js';
import { watched } from '../trouble.js';
import './ai-composer.js';
import './ai-message.js';
import './ai-sidebar.js';
import { loadDraft, saveDraft } from './drafts.js';
import { Follower } from './scroll.js';
import { ThreadSession } from './session.js';
import { lacksModel, welcome } from './welcome.js';

const threadOfUrl = () => /^\/t\/([^/]+)$/.exec(location.pathname)?.[1] ?? null;
const narrow = matchMedia('(max-width: 820px)');

class AiChat extends LitElement {
  static properties = {
    following: { state: true }, drawer: { state: true }, problem: { state: true },
    noModel: { state: true }, loadingOlder: { state: true },
  };

  constructor() {
    super();
    this.session = new ThreadSession();
    this.following = true;
    this.drawer = false;
    this.problem = '';
    /** whether the problem passes with the trouble that the line at the top tells of */
    this.passing = false;
    this.noModel = false;
    this.loadingOlder = false;
    this.session.addEventListener('change', () => this.requestUpdate());
    this.session.addEventListener('turn-finished', () => void this.#sidebar.refresh());
    this.session.addEventListener('arrived', event => this.#composer.drop(/** @type {CustomEvent} */ (event).detail));
    watched.addEventListener('recovered', () => this.#recover());
    this.session.addEventListener('gone', () => void this.#sidebar.refresh());
    this.session.addEventListener('created', event => this.#created(/** @type {CustomEvent} */ (event).detail.id));
    addEventListener('popstate', () => this.#show(threadOfUrl()));
    narrow.addEventListener('change', () => this.requestUpdate());
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    this.replaceChildren();
    super.connectedCallback();
    void this.session.open(threadOfUrl());
    this.addEventListener('keydown', event => {
      if (event.key === 'Escape' && this.drawer) this.#closeDrawer();
    });
  }

  firstUpdated() {
    const log = /** @type {HTMLElement} */ (this.querySelector('.log'));
    const content = /** @type {HTMLElement} */ (log.firstElementChild);
    this.follower = new Follower(log, content, following => { this.following = following; });
    if (!narrow.matches) this.#composer.updateComplete.then(() => this.#composer.box.focus());
  }

  /** @returns {any} */
  get #composer() {
    return this.querySelector('ai-composer');
  }

  /** @returns {any} */
  get #sidebar() {
    return this.querySelector('ai-sidebar');
  }

  /** @param {string} id */
  #created(id) {
    history.replaceState(null, '', `/t/${id}`);
    this.#composer.keepText = true;
    void this.#sidebar.refresh();
  }

  /** @param {string | null} id */
  #go(id) {
    history.pushState(null, '', id ? `/t/${id}` : '/');
    this.#show(id);
    if (narrow.matches) this.#closeDrawer();
    else this.#focus('#message');
  }

  // What was about to be said to a conversation that is gone can be said to a new one.
  #startOver() {
    const draft = loadDraft(this.session.threadId);
    saveDraft(this.session.threadId, '');
    if (draft && !loadDraft(null)) saveDraft(null, draft);
    this.#go(null);
  }

  /** @param {string | null} id */
  #show(id) {
    this.problem = '';
    this.follower?.toEnd();
    void this.session.open(id);
  }

  #openDrawer() {
    this.drawer = true;
    this.#focus('.close-sidebar');
  }

  /** @param {string} selector */
  #focus(selector) {
    void this.updateComplete.then(() => /** @type {HTMLElement} */ (this.querySelector(selector)).focus());
  }

  #closeDrawer() {
    if (!this.drawer) return;
    this.drawer = false;
    this.#focus('.open-sidebar');
  }

  /** @param {string} text */
  async #send(text) {
    this.follower?.toEnd();
    if (!await this.#try(() => this.session.send(text))) this.#composer.restore(text);
  }

  async #retry() {
    this.follower?.toEnd();
    await this.#try(() => this.session.retry());
    // The button is gone; what was in its hands is not lost to the page.
    if (!narrow.matches) this.#focus('#message');
  }

  /** @param {() => Promise<unknown>} action */
  async #try(action) {
    this.problem = '';
    try {
      await action();
      return true;
    } catch (error) {
      this.passing = error.status === 0 || error.status === 503;
      this.problem = error.retryAfter ? `${error.message} ${t('error.retry_after', { n: error.retryAfter })}` : error.message;
      return false;
    }
  }

  // What went wrong while the assistant did not answer is old news now.
  #recover() {
    if (this.passing) this.problem = '';
    if (this.#sidebar.problem) void this.#sidebar.refresh();
    this.session.recover();
  }

  async #older() {
    this.loadingOlder = true;
    await this.follower?.hold(async () => {
      await this.#try(() => this.session.loadOlder());
      await this.updateComplete;
      await Promise.all([...this.querySelectorAll('ai-message')].map((/** @type {any} */ message) => message.updateComplete));
    });
    this.loadingOlder = false;
  }

  get #status() {
    const { kind, name } = this.session.conversation.phase;
    if (this.session.conversation.stopping) return t('status.stopping');
    return kind === 'tool' || kind === 'approval' ? t(`status.${kind}`, { name: name ?? '' }) : t(`status.${kind}`);
  }

  /** Whether there is nobody to write to: the conversation will not come back. */
  get #isGone() {
    return Boolean(this.session.problem) && !this.session.failed;
  }

  get #busy() {
    return this.session.conversation.activeRun !== null;
  }

  #header() {
    const { title, threadId } = this.session;
    const heading = title || (this.#isGone ? t('app.name') : t(threadId ? 'threads.untitled' : 'threads.new'));
    document.title = threadId && title ? `${title} · ${t('app.name')}` : t('app.name');
    return html`<header class="chat-head">
      <button type="button" class="ghost icon-button open-sidebar" aria-label=${t('threads.open')}
        aria-expanded=${this.drawer} @click=${this.#openDrawer}>${icon('menu')}</button>
      <h1><bdi>${heading}</bdi></h1>
      <a class="ghost icon-button button new-chat-small" href="/" aria-label=${t('threads.new')}
        @click=${(/** @type {MouseEvent} */ event) => { event.preventDefault(); this.#go(null); }}>${icon('new')}</a>
    </header>`;
  }

  #log() {
    const { conversation, loading, problem, before } = this.session;
    const { items } = conversation;
    if (problem) {
      return html`<div class="thread-problem" role="alert">${icon('warning')}<p>${problem}</p>
        <button type="button" class="primary" @click=${this.#startOver}>${icon('new')}<span>${t('threads.new')}</span></button></div>`;
    }
    if (loading) return html`<p class="loading quiet">${t('thread.loading')}</p>`;
    if (!items.length && !this.session.threadId) return welcome(this.noModel, text => this.#composer.fill(text));
    return html`
      ${before ? html`<button type="button" class="ghost older" ?disabled=${this.loadingOlder} @click=${this.#older}>${t('thread.older')}</button>` : nothing}
      ${repeat(items, item => item.key, item => html`<ai-message .item=${item} .last=${item === items.at(-1) && !this.#busy}></ai-message>`)}`;
  }

  #connection() {
    if (!this.session.lost) return nothing;
    const words = t(offline() ? 'connection.offline' : 'connection.reconnecting');
    return html`<p class="connection">${icon('offline')}<span>${words}</span></p>`;
  }

  render() {
    const { session } = this;
    const { conversation } = session;
    return html`
      <aside class="sidebar ${this.drawer ? 'open' : ''}" ?inert=${narrow.matches && !this.drawer}>
        <ai-sidebar .current=${session.threadId} @close=${this.#closeDrawer} @loaded=${this.#checkModel}
          @open-thread=${(/** @type {CustomEvent} */ event) => this.#go(event.detail.id)}
          @renamed=${(/** @type {CustomEvent} */ event) => this.#renamed(event.detail)}></ai-sidebar>
      </aside>
      <div class="scrim" ?hidden=${!this.drawer} @click=${this.#closeDrawer}></div>
      <main ?inert=${narrow.matches && this.drawer}>
        ${this.#header()}
        <div class="log" role="log" aria-live="off" aria-label=${t('thread.log')} tabindex="0" aria-busy=${this.#busy}>
          <div class="log-content" @retry=${this.#retry} @start-over=${() => this.#go(null)}
            @decide=${(/** @type {CustomEvent} */ event) => this.#try(() => session.decide(event.detail.approvalId, event.detail.decision))}>
            ${this.#log()}
          </div>
        </div>
        <div class="dock">
          ${this.following ? nothing : html`<button type="button" class="to-end" @click=${() => this.follower?.toEnd()}>
            ${icon('down')}<span>${t('thread.to_end')}</span></button>`}
          <div class="status-line ${this.#busy ? 'busy' : ''} ${conversation.phase.kind === 'completed' ? 'over' : ''}">
            <p class="status" role="status">${this.#status}</p>
            <div role="status" class="connection-slot">${this.#connection()}</div>
          </div>
          <ai-composer ?hidden=${this.#isGone} .threadId=${session.threadId} .running=${this.#busy} .stopping=${conversation.stopping}
            .problem=${this.problem} .disabled=${Boolean(session.problem) || session.loading}
            @send=${(/** @type {CustomEvent} */ event) => this.#send(event.detail.text)}
            @stop=${() => this.#try(() => session.stop())}></ai-composer>
        </div>
      </main>`;
  }

  /** @param {{ id: string, title: string }} renamed */
  #renamed({ id, title }) {
    if (id === this.session.threadId) this.session.title = title;
    this.requestUpdate();
  }

  // A user with conversations has a model; only the newcomer is asked about one.
  async #checkModel() {
    if (this.modelChecked || this.#sidebar.threads.length) return;
    this.modelChecked = true;
    this.noModel = await lacksModel().catch(() => false);
  }
}
customElements.define('ai-chat', AiChat);
