// Where one writes. It knows nothing of the log, so typing stays quick while answers stream.
import { html, LitElement, nothing } from '../../vendor/lit.js';
import { icon } from '../icon.js';
import { t } from '../i18n.js';
import { forgetUnsent, loadDraft, loadUnsent, saveDraft } from './drafts.js';

// There Enter is the only way to a new line, and the button is at hand.
const touch = matchMedia('(hover: none) and (pointer: coarse)');

class AiComposer extends LitElement {
  static properties = {
    threadId: { attribute: false }, running: { type: Boolean }, stopping: { type: Boolean },
    problem: {}, disabled: { type: Boolean }, empty: { state: true },
  };

  constructor() {
    super();
    /** @type {string | null} */
    this.threadId = null;
    this.running = false;
    this.stopping = false;
    this.problem = '';
    this.disabled = false;
    this.empty = true;
    this.onStop = false;
  }

  createRenderRoot() {
    return this;
  }

  /** @returns {HTMLTextAreaElement} */
  get box() {
    return /** @type {HTMLTextAreaElement} */ (this.querySelector('textarea'));
  }

  willUpdate() {
    this.onStop = document.activeElement?.matches('.stop') === true && this.contains(document.activeElement);
  }

  /** @param {Map<string, unknown>} changed */
  updated(changed) {
    // The button that had the focus may be gone.
    if (this.onStop && !this.running && !touch.matches) this.box.focus();
    if (!changed.has('threadId')) return;
    // The thread of a first message gets its id while the next one may already be in the making.
    const sameText = changed.get('threadId') === null && this.keepText;
    this.keepText = false;
    if (sameText) saveDraft(this.threadId, this.box.value);
    else this.fill(loadDraft(this.threadId) || (loadUnsent(this.threadId)?.text ?? ''), false);
  }

  /** @param {string} text */
  fill(text, focus = true) {
    this.box.value = text;
    this.#typed();
    if (focus) this.box.focus();
  }

  /** Put words back that could not be sent, unless others have been typed since. @param {string} text */
  restore(text) {
    if (!this.box.value.trim()) this.fill(text);
  }

  /** Words that had arrived although nobody heard so. @param {string} text */
  drop(text) {
    if (this.box.value === text) this.fill('', false);
  }

  #input() {
    // Words that were put back and then wiped out are not wanted back once more.
    if (!this.box.value) forgetUnsent(this.threadId);
    this.#typed();
  }

  #typed() {
    const { box } = this;
    saveDraft(this.threadId, box.value);
    this.empty = !box.value.trim();
    if (CSS.supports('field-sizing', 'content')) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || touch.matches) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.box.value.trim();
    if (!text || this.disabled) return;
    this.fill('');
    this.dispatchEvent(new CustomEvent('send', { detail: { text } }));
  }

  /** @param {SubmitEvent} event */
  #submit(event) {
    event.preventDefault();
    this.#send();
  }

  render() {
    return html`<form class="composer" @submit=${this.#submit}>
      ${this.problem ? html`<p class="composer-problem" role="alert">${icon('error')}<span>${this.problem}</span></p>` : nothing}
      <div class="composer-box">
        <label class="visually-hidden" for="message">${t('composer.label')}</label>
        <textarea id="message" rows="1" dir="auto" placeholder=${t('composer.placeholder')} enterkeyhint=${touch.matches ? 'enter' : 'send'}
          @input=${this.#input} @keydown=${this.#key}></textarea>
        <div class="composer-actions">
          ${this.running ? html`<button type="button" class="stop" aria-disabled=${this.stopping}
            title=${t('composer.stop')} @click=${() => this.dispatchEvent(new Event('stop'))}>
            ${icon('stop')}<span>${t(this.stopping ? 'composer.stopping' : 'composer.stop')}</span></button>` : nothing}
          <button class="send" aria-label=${t('composer.send')} title=${t('composer.send')}
            ?disabled=${this.empty || this.disabled}>${icon('send')}</button>
        </div>
      </div>
      <p class="composer-hint">${t(touch.matches ? 'composer.hint_touch' : 'composer.hint')}</p>
    </form>`;
  }
}
customElements.define('ai-composer', AiComposer);
