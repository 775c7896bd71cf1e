// The model's thinking: a small window while it goes on, folded away when it ends. A choice is kept.
import { html, LitElement, nothing } from '../../vendor/lit.js';
import { icon } from '../icon.js';
import { t } from '../i18n.js';

const CHOICE = 'reasoning';

class ReasoningPanel extends LitElement {
  static properties = {
    text: {}, thinking: { type: Boolean }, seconds: { type: Number }, open: { state: true },
  };

  constructor() {
    super();
    this.text = '';
    this.thinking = false;
    /** @type {number | undefined} */
    this.seconds = undefined;
    /** @type {boolean | undefined} what the user chose here */
    this.open = undefined;
    this.chosen = localStorage.getItem(CHOICE);
  }

  createRenderRoot() {
    return this;
  }

  get expanded() {
    return this.open ?? (this.chosen ? this.chosen === 'open' : this.thinking);
  }

  toggle() {
    this.open = !this.expanded;
    localStorage.setItem(CHOICE, this.open ? 'open' : 'closed');
  }

  get label() {
    if (this.thinking) return t('reasoning.thinking');
    return this.seconds ? t('reasoning.took', { n: this.seconds }) : t('reasoning.title');
  }

  updated() {
    const window = this.querySelector('.reasoning-text');
    if (window && this.thinking) window.scrollTop = window.scrollHeight;
  }

  render() {
    return html`<div class="reasoning ${this.thinking ? 'thinking' : ''}">
      <button type="button" class="reasoning-toggle" aria-expanded=${this.expanded} @click=${this.toggle}>
        ${icon('think')}<span>${this.label}</span>${icon('open')}
      </button>
      ${this.expanded ? html`<div class="reasoning-text" tabindex="0" dir="auto">${this.text.trim()}</div>` : nothing}
    </div>`;
  }
}
customElements.define('reasoning-panel', ReasoningPanel);
