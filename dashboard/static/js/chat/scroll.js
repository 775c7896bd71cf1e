// Follows the end of the log while the reader is there, and lets go the moment they scroll up.

const NEAR = 60;
const SETTLING_FRAMES = 4;
const BACK_KEYS = new Set(['ArrowUp', 'PageUp', 'Home']);

export class Follower {
  /**
   * @param {HTMLElement} log scrolls
   * @param {HTMLElement} content grows
   * @param {(following: boolean) => void} onChange
   */
  constructor(log, content, onChange) {
    this.log = log;
    this.onChange = onChange;
    this.following = true;
    this.top = 0;
    this.wasEmpty = false;
    this.observer = new ResizeObserver(() => this.#settle());
    this.observer.observe(content);
    this.observer.observe(log);
    log.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    log.addEventListener('wheel', event => event.deltaY < 0 && this.#letGo(), { passive: true });
    log.addEventListener('keydown', event => BACK_KEYS.has(event.key) && event.target === log && this.#letGo());
    this.#watchTouch();
  }

  /** Whether there is no conversation whose end could be followed. */
  get #empty() {
    return !this.log.querySelector('ai-message');
  }

  get #overflows() {
    return this.log.scrollHeight > this.log.clientHeight + 1;
  }

  get #distance() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight;
  }

  // Content that grows also fires scroll events; only a movement upwards is the reader's.
  #scrolled() {
    if (this.#empty) return;
    const up = this.log.scrollTop < this.top - 1;
    this.top = this.log.scrollTop;
    if (this.#distance <= NEAR && !up) this.#set(true);
    else if (up && this.#distance > NEAR) this.#set(false);
  }

  #watchTouch() {
    let from = 0;
    this.log.addEventListener('touchstart', event => { from = event.touches[0].clientY; }, { passive: true });
    this.log.addEventListener('touchmove', event => event.touches[0].clientY > from + 4 && this.#letGo(), { passive: true });
  }

  #letGo() {
    if (this.#overflows && !this.#empty) this.#set(false);
  }

  #settle() {
    const empty = this.#empty;
    // A page without messages is read from its beginning.
    if (empty && !this.wasEmpty) this.log.scrollTop = 0;
    this.wasEmpty = empty;
    if (empty) this.#set(true);
    else if (this.following) this.#jump();
    else if (!this.#overflows) this.#set(true);
  }

  #jump() {
    this.log.scrollTop = this.log.scrollHeight;
    this.top = this.log.scrollTop;
  }

  toEnd() {
    this.#set(true);
    if (!this.#empty) this.#jump();
  }

  /**
   * Keep what is on show where it is while `grow` adds content above it.
   * @param {() => Promise<unknown>} grow
   */
  async hold(grow) {
    const edge = this.log.getBoundingClientRect().top;
    const anchor = [...this.log.querySelectorAll('ai-message')].find(item => item.getBoundingClientRect().bottom > edge);
    const place = anchor?.getBoundingClientRect().top ?? 0;
    this.#set(false);
    await grow();
    // Messages out of sight have estimated heights, which turn into real ones over the next frames.
    for (let frame = 0; anchor && frame < SETTLING_FRAMES; frame++) {
      this.log.scrollTop += anchor.getBoundingClientRect().top - place;
      this.top = this.log.scrollTop;
      await new Promise(requestAnimationFrame);
    }
  }

  /** @param {boolean} following */
  #set(following) {
    if (this.following === following) return;
    this.following = following;
    this.onChange(following);
  }

  stop() {
    this.observer.disconnect();
  }
}
