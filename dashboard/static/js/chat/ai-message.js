// One message. The text of an answer is drawn by a MarkdownView, everything around it by Lit.
import { html, LitElement, nothing } from '../../vendor/lit.js';
import { icon } from '../icon.js';
import { formatClock, formatMoment, t } from '../i18n.js';
import { MarkdownView } from '../markdown/view.js';
import { copyFrom } from './clipboard.js';
import { failureCard } from './failure.js';
import './reasoning-panel.js';
import { approvalCard, toolCard } from './tool-card.js';

/** @typedef {import('./conversation.js').Item} Item */

class AiMessage extends LitElement {
  static properties = { item: { attribute: false, hasChanged: () => true }, last: { type: Boolean } };

  constructor() {
    super();
    /** @type {Item} */
    this.item = /** @type {any} */ (null);
    this.last = false;
    /** @type {MarkdownView | null} */
    this.view = null;
  }

  createRenderRoot() {
    return this;
  }

  // The log offers every message on every change; most have not changed.
  shouldUpdate() {
    const { item } = this;
    const fingerprint = [
      item.text.length, item.reasoning.length, item.status, item.live, item.closed, item.model, item.notices.length,
      item.error?.detail, item.thoughtSeconds, this.last, ...item.tools.map(tool => tool.status),
      ...item.approvals.map(approval => approval.decision ?? '?'),
    ].join('|');
    const differs = fingerprint !== this.fingerprint;
    this.fingerprint = fingerprint;
    return differs;
  }

  updated() {
    if (this.item.role === 'user') return;
    const root = /** @type {HTMLElement} */ (this.querySelector('.markdown'));
    const { text, live, closed } = this.item;
    this.view ??= new MarkdownView(root);
    if (!text.startsWith(this.view.text) || (this.ended && text !== this.view.text)) {
      this.view.reset();
      this.ended = false;
    }
    if (this.ended) return;
    if (live && !closed) {
      this.view.show(text);
    } else {
      this.ended = true;
      if (this.view.text) {
        this.view.show(text);
        this.view.end();
      } else {
        this.view.set(text);
      }
    }
  }

  /** @param {string} type */
  #ask(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, detail }));
  }

  /** @param {Event} event */
  #copy(event) {
    const button = /** @type {HTMLElement} */ (event.currentTarget);
    void copyFrom(button, this.item.text);
  }

  /** @param {Event} event */
  #copyCode(event) {
    const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest('button.copy'));
    if (button) void copyFrom(button, button.closest('figure')?.querySelector('code')?.textContent ?? '');
  }

  #copyButton() {
    return html`<button type="button" class="ghost icon-button small" aria-label=${t('message.copy')}
      title=${t('message.copy')} @click=${this.#copy}>${icon('copy')}${icon('done')}</button>`;
  }

  // What was stopped or answered can be tried again as well; a failure has a button of its own.
  #retryButton() {
    const { status, error, live } = this.item;
    if (!this.last || live || error || !['completed', 'cancelled'].includes(status)) return nothing;
    return html`<button type="button" class="ghost icon-button small retry" aria-label=${t('failure.retry')}
      title=${t('failure.retry')} @click=${() => this.#ask('retry')}>${icon('retry')}</button>`;
  }

  #time() {
    const { createdAt } = this.item;
    return createdAt ? html`<time datetime=${createdAt} title=${formatMoment(createdAt)}>${formatClock(createdAt)}</time>` : nothing;
  }

  #question() {
    const { text, status, error } = this.item;
    const waits = status === 'queued' || status === 'sending';
    return html`<article class="message user">
      <h2 class="visually-hidden">${t('message.you')}</h2>
      <div class="bubble" dir="auto">${text}</div>
      <div class="meta">
        ${waits ? html`<span class="badge">${t(`message.${status}`)}</span>` : nothing}
        ${status === 'cancelled' ? html`<span class="badge">${t('message.cancelled')}</span>${this.#retryButton()}` : nothing}
        ${this.#time()}${this.#copyButton()}
      </div>
      ${error ? this.#failure(error) : nothing}
    </article>`;
  }

  /** @param {import('./conversation.js').Failure} error */
  #failure(error) {
    return failureCard(error, { last: this.last, ask: type => this.#ask(type) });
  }

  #label() {
    const { model, usage } = this.item;
    if (!model && !usage) return nothing;
    const tokens = usage ? (usage.prompt_tokens ?? 0) + (usage.completion_tokens ?? 0) : 0;
    const detail = usage ? t('usage.detail', { prompt: usage.prompt_tokens ?? 0, answer: usage.completion_tokens ?? 0 }) : '';
    const sign = usage?.estimated ? '≈ ' : '';
    return html`<span class="model" title=${detail}>${model}${tokens ? html`<span class="usage">${sign}${t('usage.tokens', { n: tokens })}</span>` : nothing}</span>`;
  }

  #answer() {
    const { text, reasoning, tools, approvals, notices, status, error, live, thoughtSeconds } = this.item;
    const thinking = live && !text && !error && thoughtSeconds === undefined;
    return html`<article class="message assistant" aria-busy=${live ? 'true' : 'false'}>
      <h2 class="visually-hidden">${t('message.assistant')}</h2>
      ${reasoning ? html`<reasoning-panel .text=${reasoning} .thinking=${thinking} .seconds=${thoughtSeconds}></reasoning-panel>` : nothing}
      ${tools.map(toolCard)}
      ${approvals.map(approval => approvalCard(approval, decision =>
        this.#ask('decide', { approvalId: approval.approval_id, decision })))}
      ${notices.map(({ level, text: words }) => html`<p class="notice ${level}">${icon(level === 'info' ? 'info' : 'warning')}<span dir="auto">${words}</span></p>`)}
      <div class="markdown" @click=${this.#copyCode}></div>
      ${live && !text && !reasoning && !tools.length ? html`<p class="dots" aria-hidden="true"><i></i><i></i><i></i></p>` : nothing}
      ${error ? this.#failure(error) : nothing}
      ${live ? nothing : html`<div class="meta">
        ${text ? this.#copyButton() : nothing}${this.#retryButton()}${this.#label()}
        ${status === 'cancelled' ? html`<span class="badge">${t('message.stopped')}</span>` : nothing}${this.#time()}
      </div>`}
    </article>`;
  }

  render() {
    return this.item.role === 'user' ? this.#question() : this.#answer();
  }
}
customElements.define('ai-message', AiMessage);
