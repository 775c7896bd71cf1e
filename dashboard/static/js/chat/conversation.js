// What one thread shows: items made of stored messages and of events. No DOM, no network.

/**
 * @typedef {{ call_id: string, name: string, arguments: any, status: string, summary?: string }} Tool
 * @typedef {{ code: string, detail: string, retryable?: boolean }} Failure
 * @typedef {{ approval_id: string, call_id: string, name: string, arguments: any, why: string,
 *   expires_at: string, decision?: string }} Approval
 * @typedef {{ key: number, id: string, role: 'user' | 'assistant', runId?: string, replyTo?: string,
 *   text: string, status: string, createdAt?: string, reasoning: string, thoughtFrom?: string,
 *   thoughtSeconds?: number, tools: Tool[], approvals: Approval[], notices: {level: string, text: string}[],
 *   error?: Failure, model?: string, usage?: any, live: boolean, closed: boolean }} Item
 * @typedef {{ kind: string, name?: string }} Phase
 */

let lastKey = 0;

/** @param {Partial<Item> & { role: 'user' | 'assistant' }} values @returns {Item} */
function makeItem(values) {
  return {
    key: ++lastKey, id: '', text: '', status: 'completed', reasoning: '', tools: [], approvals: [], notices: [],
    live: false, closed: false, ...values,
  };
}

/** @param {any} message */
function fromMessage(message) {
  return makeItem({
    id: message.id, role: message.role, text: message.text ?? '', status: message.status ?? 'completed',
    reasoning: message.reasoning ?? '', tools: message.tools ?? [], error: message.error ?? undefined,
    model: message.model ?? undefined, usage: message.usage ?? undefined, createdAt: message.created_at,
    runId: message.run_id ?? undefined, replyTo: message.answer_to ?? undefined, closed: true,
    notices: (message.notices ?? []).map((/** @type {string} */ text) => ({ level: 'warning', text })),
  });
}

/** @param {Item[]} items */
function linkReplies(items) {
  let question = '';
  for (const item of items) {
    if (item.role === 'user') question = item.id;
    else item.replyTo ??= question;
  }
}

export class Conversation {
  constructor() {
    /** @type {Item[]} */
    this.items = [];
    /** @type {string | null} the run that Stop stops */
    this.activeRun = null;
    this.stopping = false;
    /** @type {Phase} */
    this.phase = { kind: 'idle' };
    /** @type {Map<string, string>} run to the question that it tries again */
    this.retries = new Map();
    /** @type {Set<string>} runs that have started */
    this.begun = new Set();
  }

  /** @param {any} thread the answer of GET /api/threads/{id} */
  load(thread) {
    this.items = thread.messages.map(fromMessage);
    linkReplies(this.items);
    this.activeRun = thread.running_run_id ?? null;
    if (this.activeRun) this.phase = { kind: 'queued' };
    for (const approval of thread.pending_approvals ?? []) this.#addPending(approval);
  }

  /** @param {any[]} messages older ones, oldest first */
  prepend(messages) {
    const known = new Set(this.items.map(item => item.id));
    this.items = [...messages.filter(message => !known.has(message.id)).map(fromMessage), ...this.items];
    linkReplies(this.items);
  }

  /**
   * A turn began whose question we do not know: it came from elsewhere (another tab, Telegram), or it is
   * another try of a question that we show.
   * @param {any[]} messages the newest ones
   * @param {any} event the turn_started
   */
  merge(messages, event) {
    for (const message of messages) {
      if (message.role !== 'user' || this.#question(message.id)) continue;
      const answer = this.items.findIndex(item => item.replyTo === message.id);
      this.items.splice(answer < 0 ? this.items.length : answer, 0, fromMessage(message));
    }
    if (this.#question(event.message_id)) return;
    const asked = messages.findLast(message => message.role === 'user' && message.status !== 'queued');
    if (asked) this.#replaceAnswer(asked.id, event.run_id);
  }

  /**
   * The answer of this run takes the place of all others to the question.
   * @param {string} questionId
   * @param {string} runId
   */
  #replaceAnswer(questionId, runId) {
    const answer = this.items.find(item => item.role === 'assistant' && item.runId === runId);
    if (!answer) return;
    answer.replyTo = questionId;
    this.items = this.items.filter(item => item === answer || item.replyTo !== questionId);
  }

  /**
   * @param {string} id
   * @param {string} text
   */
  ask(id, text) {
    const item = makeItem({ id, role: 'user', text, status: 'sending', createdAt: new Date().toISOString() });
    this.items.push(item);
    return item;
  }

  /**
   * @param {Item} item
   * @param {{ message_id: string, run_id: string }} accepted
   */
  accepted(item, { message_id, run_id }) {
    this.items = this.items.filter(other => other === item || other.id !== message_id || other.role !== 'user');
    item.id = message_id;
    item.runId = run_id;
    if (item.status === 'sending') item.status = this.begun.has(run_id) ? 'completed' : 'queued';
    if (!this.activeRun && item.status === 'queued') this.#await(run_id);
  }

  /** @param {Item} item */
  withdraw(item) {
    this.items = this.items.filter(other => other !== item);
  }

  /** @param {{ message_id: string, run_id: string }} accepted */
  retried({ message_id, run_id }) {
    const question = this.#question(message_id) ?? this.items.findLast(item => item.role === 'user' && item.status !== 'queued');
    if (question) this.retries.set(run_id, question.id);
    // Events may be quicker than the answer of the call that caused them.
    if (this.begun.has(run_id)) {
      if (question) this.#replaceAnswer(question.id, run_id);
    } else if (!this.activeRun) this.#await(run_id);
  }

  /** @param {string} runId */
  #await(runId) {
    this.activeRun = runId;
    this.phase = { kind: 'queued' };
  }

  /**
   * @param {any} event
   * @returns {boolean} whether its question has to be fetched
   */
  apply(event) {
    switch (event.type) {
      case 'turn_started': return this.#started(event);
      case 'reasoning_delta': this.#reason(event); break;
      case 'text_delta': this.#write(event); break;
      case 'tool_started': this.#toolStarted(event); break;
      case 'tool_finished': this.#toolFinished(event); break;
      case 'approval_requested': this.#approvalRequested(event); break;
      case 'approval_resolved': this.#approvalResolved(event); break;
      case 'message_completed': this.#completed(event); break;
      case 'notice': this.#open(event).notices.push({ level: event.level, text: event.text }); break;
      case 'turn_failed': this.#open(event).error = event; break;
      case 'turn_finished': this.#finished(event); break;
    }
    return false;
  }

  /** @param {any} event */
  #started(event) {
    const { run_id } = event;
    this.begun.add(run_id);
    const message_id = this.retries.get(run_id) ?? event.message_id;
    // A new attempt shows everything again, and so does another try of the same question, also of one that was
    // answered well.
    const again = this.retries.has(run_id);
    this.items = this.items.filter(item => item.role === 'user' || (item.runId !== run_id
      && !(item.replyTo === message_id && (again || item.status !== 'completed'))));
    const question = this.#question(message_id);
    if (question) {
      question.status = 'completed';
      question.runId = run_id;
      question.error = undefined;
    }
    this.activeRun = run_id;
    this.phase = { kind: 'thinking' };
    this.#insert(event, message_id);
    return !question;
  }

  /**
   * @param {any} event
   * @param {string | undefined} replyTo
   */
  #insert(event, replyTo) {
    const item = makeItem({
      role: 'assistant', runId: event.run_id, replyTo, status: 'running', live: true, createdAt: event.at,
    });
    const place = this.items.findLastIndex(other => replyTo && (other.id === replyTo || other.replyTo === replyTo));
    this.items.splice(place < 0 ? this.items.length : place + 1, 0, item);
    return item;
  }

  /** The answer that this run writes. @param {any} event */
  #open(event) {
    return this.items.findLast(item => item.role === 'assistant' && item.runId === event.run_id)
      ?? this.#insert(event, this.retries.get(event.run_id));
  }

  /** @param {any} event */
  #reason(event) {
    const item = this.#open(event);
    item.reasoning += event.text;
    item.thoughtFrom ??= event.at;
    this.phase = { kind: 'thinking' };
  }

  /** @param {any} event */
  #write(event) {
    const item = this.#open(event);
    this.#endThought(item, event.at);
    // Text after a completed message is a better version of it (autonomous mode grades and tries again).
    item.text = item.closed ? event.text : item.text + event.text;
    item.closed = false;
    this.phase = { kind: 'writing' };
  }

  /**
   * @param {Item} item
   * @param {string} at
   */
  #endThought(item, at) {
    if (!item.thoughtFrom || item.thoughtSeconds !== undefined) return;
    item.thoughtSeconds = Math.max(1, Math.round((Date.parse(at) - Date.parse(item.thoughtFrom)) / 1000)) || 1;
  }

  /** @param {any} event */
  #toolStarted(event) {
    const item = this.#open(event);
    this.#endThought(item, event.at);
    const tool = { call_id: event.call_id, name: event.name, arguments: event.arguments, status: 'running' };
    const known = item.tools.findIndex(other => other.call_id === event.call_id);
    item.tools = known < 0 ? [...item.tools, tool] : item.tools.with(known, tool);
    this.phase = { kind: 'tool', name: event.name };
  }

  /** @param {any} event */
  #toolFinished(event) {
    const { call_id, status, summary } = event;
    const item = this.#open(event);
    item.tools = item.tools.map(tool => (tool.call_id === call_id ? { ...tool, status, summary } : tool));
    const running = item.tools.find(tool => tool.status === 'running');
    this.phase = running ? { kind: 'tool', name: running.name } : { kind: 'thinking' };
  }

  /** @param {any} approval */
  #addPending(approval) {
    const event = { run_id: this.activeRun ?? approval.run_id, at: approval.at, ...approval };
    this.#approvalRequested(event);
  }

  /** @param {any} event */
  #approvalRequested(event) {
    if (this.#approval(event.approval_id)) return;
    this.#open(event).approvals.push({ ...event });
    this.phase = { kind: 'approval', name: event.name };
  }

  /** @param {any} event */
  #approvalResolved(event) {
    const approval = this.#approval(event.approval_id);
    if (approval) approval.decision = event.decision;
    this.phase = { kind: 'thinking' };
  }

  /** @param {string} id */
  #approval(id) {
    return this.items.flatMap(item => item.approvals).find(approval => approval.approval_id === id);
  }

  /** @param {any} event */
  #completed(event) {
    const item = this.#open(event);
    this.#endThought(item, event.at);
    Object.assign(item, { text: event.text, model: event.model, usage: event.usage, closed: true });
  }

  /** @param {any} event */
  #finished({ run_id, status }) {
    const mine = this.items.filter(item => item.runId === run_id);
    for (const item of mine) this.#settle(item, status);
    if (status !== 'waiting') this.items = this.items.filter(item => !mine.includes(item) || !this.#isEmpty(item));
    if (this.activeRun && this.activeRun !== run_id) return;
    this.stopping = false;
    this.phase = { kind: status === 'waiting' ? 'approval' : status };
    const next = this.items.find(item => item.role === 'user' && item.status === 'queued' && item.runId);
    this.activeRun = status === 'waiting' ? run_id : next?.runId ?? null;
  }

  /**
   * @param {Item} item
   * @param {string} status
   */
  #settle(item, status) {
    if (item.role === 'user') {
      if (item.status === 'queued') item.status = status;
      return;
    }
    if (status === 'waiting') return;
    item.live = false;
    item.status = status;
    item.notices = item.notices.filter(notice => notice.level !== 'info');
    item.tools = item.tools.map(tool => (tool.status === 'running' ? { ...tool, status: 'unknown' } : tool));
  }

  /** @param {Item} item */
  #isEmpty(item) {
    return item.role === 'assistant' && item.status === 'completed' && !item.text && !item.reasoning && !item.error
      && !item.tools.length && !item.notices.length && !item.approvals.length;
  }

  /** @param {string} id */
  #question(id) {
    return this.items.find(item => item.role === 'user' && item.id === id);
  }
}
