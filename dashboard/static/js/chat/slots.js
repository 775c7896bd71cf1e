// A browser opens six connections to a host, whatever the number of tabs; each open stream holds one.
// So a tab gives its stream up once enough other tabs have opened theirs, and takes it back when used.

const OPEN_STREAMS = 4;

export class StreamSlot {
  /** @param {() => void} onLost called when the stream has to be closed */
  constructor(onLost) {
    this.id = Math.random().toString(36).slice(2);
    /** @type {Set<string>} tabs that opened a stream after us */
    this.newer = new Set();
    this.held = false;
    this.channel = new BroadcastChannel('assistant-streams');
    this.channel.onmessage = ({ data }) => {
      if (data.gone) this.newer.delete(data.id);
      else this.newer.add(data.id);
      if (!this.held || this.newer.size < OPEN_STREAMS) return;
      this.held = false;
      onLost();
    };
    addEventListener('pagehide', () => this.release());
  }

  claim() {
    this.held = true;
    this.newer.clear();
    this.channel.postMessage({ id: this.id });
  }

  release() {
    this.held = false;
    this.channel.postMessage({ id: this.id, gone: true });
  }
}
