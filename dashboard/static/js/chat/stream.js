// The event stream of one thread. Reconnects for ever, resumes after the last event, never repeats one.

const TYPES = [
  'turn_started', 'reasoning_delta', 'text_delta', 'tool_started', 'tool_finished', 'approval_requested',
  'approval_resolved', 'message_completed', 'turn_failed', 'turn_finished', 'notice',
];
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

export class ThreadStream {
  /**
   * @param {string} threadId
   * @param {string} since the last event that is already known; '' for none
   * @param {{ event: (event: any) => void, connected: (yes: boolean) => void, refused: () => void,
   *   outdated: () => void, deleted: () => void }} on
   *   refused: the server may have turned us away (a lost session, a deleted thread): ask it
   *   outdated: the journal no longer holds what we missed: load the thread again
   *   deleted: the thread is gone, the stream has ended for good
   */
  constructor(threadId, since, on) {
    this.threadId = threadId;
    this.last = since;
    this.on = on;
    /** @type {Set<string>} */
    this.seen = new Set();
    /** @type {EventSource | null} */
    this.source = null;
    this.wait = FIRST_WAIT;
    this.timer = 0;
    this.closed = false;
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.closed = false;
    const since = this.last ? `?since=${encodeURIComponent(this.last)}` : '';
    const source = new EventSource(`/api/threads/${this.threadId}/events${since}`);
    this.source = source;
    let opened = false;
    source.onopen = () => {
      opened = true;
      this.wait = FIRST_WAIT;
      this.on.connected(true);
    };
    source.onerror = () => {
      if (!opened) this.on.refused();
      this.#again();
    };
    source.addEventListener('server_shutdown', () => this.#again());
    source.addEventListener('reset', () => {
      this.close();
      this.on.outdated();
    });
    source.addEventListener('thread_deleted', () => {
      this.close();
      this.on.deleted();
    });
    for (const type of TYPES) source.addEventListener(type, event => this.#take(event));
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.closed = true;
  }

  // The browser's own reconnection gives up on any HTTP error, so we do it.
  #again() {
    if (this.closed) return;
    this.source?.close();
    this.on.connected(false);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), this.wait * (0.8 + 0.4 * Math.random()));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  /** Do not wait for the timer: the network is said to be back. */
  hurry() {
    if (!this.closed && this.source?.readyState !== EventSource.OPEN) this.open();
  }

  /** @param {MessageEvent} message */
  #take(message) {
    const id = message.lastEventId;
    if (this.seen.has(id)) return;
    this.seen.add(id);
    this.last = id;
    this.on.event(JSON.parse(message.data));
  }
}
