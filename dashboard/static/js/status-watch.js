// Knows whether the assistant answers. All tabs of a browser share one stream, which says nothing while all is
// well; before sign-in, where there is no stream, the page asks now and then. A hidden tab does neither.
import { goToLogin } from './api.js';
import { t } from './i18n.js';

const CALM_MS = 15_000;
const TROUBLED_MS = 3000;
const FIRST_MS = 1000;
const SILENT_MS = 40_000;
const NOW_MS = 1500;

/** @typedef {import('./trouble.js').Trouble} Trouble */

/** @param {[number, number]} one @param {[number, number]} other */
const isLater = (one, other) => one[0] > other[0] || (one[0] === other[0] && one[1] > other[1]);

export class StatusWatch {
  /**
   * @param {boolean} known whether a user is signed in
   * @param {(trouble: Trouble | null) => void} tell called after each look
   */
  constructor(known, tell) {
    this.known = known;
    this.tell = tell;
    /** @type {Trouble | null} */
    this.trouble = null;
    /** @type {[number, number] | null} when this tab took the stream over; the latest has it */
    this.held = null;
    /** @type {EventSource | null} */
    this.source = null;
    this.failures = 0;
    this.timer = 0;
    this.lookedAt = 0;
    this.channel = new BroadcastChannel('assistant-status');
    this.channel.onmessage = ({ data }) => this.#hear(data);
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#rest() : this.#wake()));
    addEventListener('pagehide', () => this.#rest());
    addEventListener('pageshow', event => event.persisted && this.#wake());
    addEventListener('online', () => !document.hidden && this.#wake());
    if (!document.hidden) this.#wake();
  }

  #wake() {
    if (this.known) this.#claim();
    else void this.#ask();
  }

  #rest() {
    clearTimeout(this.timer);
    this.#close();
    if (this.held) this.channel.postMessage({ gone: true });
    this.held = null;
  }

  #close() {
    this.source?.close();
    this.source = null;
  }

  /**
   * @param {number} wait
   * @param {() => void} action
   */
  #later(wait, action) {
    clearTimeout(this.timer);
    this.timer = setTimeout(action, wait);
  }

  // ---- the one stream of this browser

  #claim() {
    this.held = [Date.now(), Math.random()];
    this.channel.postMessage({ claim: this.held });
    this.#open();
  }

  /** @param {any} data what another tab says */
  #hear(data) {
    if (!this.known || document.hidden) return;
    if (data.claim && this.held && isLater(data.claim, this.held)) {
      this.held = null;
      this.#close();
    }
    if (this.held) return;
    if ('trouble' in data) this.#learn(data.trouble, false);
    // The tab that had the stream has gone, or soon will: one that is visible takes it over.
    this.#later(data.gone ? 300 * Math.random() : SILENT_MS, () => this.#claim());
  }

  #open() {
    this.#close();
    const source = new EventSource('/api/status/events');
    this.source = source;
    source.addEventListener('status', event => {
      this.failures = 0;
      this.#learn(JSON.parse(event.data).trouble, true);
    });
    source.addEventListener('server_shutdown', () => this.#lost());
    source.onerror = () => this.#lost();
    this.#repeat();
  }

  // The other tabs must hear now and then that one listens for them.
  #repeat() {
    this.#later(CALM_MS, () => {
      this.channel.postMessage({ trouble: this.trouble });
      this.#repeat();
    });
  }

  #lost() {
    this.#close();
    void this.#askWhy('/api/status');
  }

  /** @param {string} path */
  async #askWhy(path) {
    await this.#look(path);
    if (document.hidden || !this.held || this.source) return;
    this.#later(this.failures > 1 || this.trouble ? TROUBLED_MS : FIRST_MS, () => this.#open());
  }

  // ---- single looks

  /** Something was just refused: do not wait for the stream to say why. */
  lookNow() {
    if (document.hidden || Date.now() - this.lookedAt < NOW_MS) return;
    if (this.known) void this.#look('/api/status?now=true');
    else void this.#ask();
  }

  async #ask() {
    await this.#look('/readyz');
    if (!document.hidden) this.#later(this.trouble ? TROUBLED_MS : CALM_MS, () => void this.#ask());
  }

  /** @param {string} path */
  async #look(path) {
    this.lookedAt = Date.now();
    let response;
    try {
      response = await fetch(path, { headers: { Accept: 'application/json' } });
    } catch {
      this.failures += 1;
      // One broken connection is no outage: a server that starts again is back at once.
      if (this.failures > 1) this.#learn({ code: 'offline', detail: t('error.offline') }, true);
      return;
    }
    if (response.status === 401 && this.known) {
      goToLogin();
      return;
    }
    const body = await response.json().catch(() => ({}));
    this.failures = 0;
    this.#learn(body.trouble ?? (body.code ? { code: body.code, detail: body.detail } : null), true);
  }

  /**
   * @param {Trouble | null} trouble
   * @param {boolean} first whether this tab found out
   */
  #learn(trouble, first) {
    this.trouble = trouble;
    if (first && this.held) this.channel.postMessage({ trouble });
    this.tell(trouble);
  }
}
