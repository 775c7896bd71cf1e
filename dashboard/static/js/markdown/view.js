// Markdown that grows. Finished blocks are drawn once and frozen; only the open tail is parsed anew.
import { blocks, fenceLanguage, LIMIT, longCode, plain, renderBlock, renderBlocks } from './render.js';
import { highlightWithin } from './highlight.js';

const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/m;
const FENCE = /^\s*(?:```|~~~)/m;
// What cannot be the beginning of one more item, row or line of the block before.
const FRESH_START = /^[^\s\d*+>|<~-]/;
/** Characters of the end of a text in which a link may be open. */
const OPEN_LINK = 2000;
/** A tail that took longer than this to draw is drawn less often. */
const SLOW_MS = 50;

/**
 * Closes what is open at the end, so that half a **bold or [link does not flicker. Only for show.
 * @param {string} text
 */
function repair(text) {
  if (FENCE.test(text)) return text;
  const near = Math.max(0, text.length - OPEN_LINK, text.lastIndexOf('\n') + 1);
  let shown = text.slice(0, near) + text.slice(near).replace(/!?\[[^\]\n]*(?:\]\([^)\n]*)?$/, '');
  if (((shown.match(/`/g) ?? []).length) % 2) shown += '`';
  else if (((shown.match(/\*\*/g) ?? []).length) % 2) shown = `${shown.replace(/\*{0,2}$/, '').trimEnd()}**`;
  return shown.trim() ? shown : text;
}

/**
 * Whether no further text can change block `i`. Lists, quotes and tables go on after a line that
 * looks like their end, so these wait until what follows is certain.
 * @param {any[]} tokens
 * @param {number} i
 */
function settled(tokens, i) {
  const [token, after] = [tokens[i], tokens[i + 1]];
  const next = after?.type === 'space' ? tokens[i + 2] : after;
  if (!next) return false;
  if (['heading', 'hr'].includes(token.type)) return true;
  if (token.type === 'code' && token.codeBlockStyle !== 'indented') return true;
  const apart = after !== next || token.raw.endsWith('\n\n');
  if (!apart) return next.raw.includes('\n');
  return token.type === 'paragraph' || FRESH_START.test(next.raw);
}

/** How many of the blocks no further text can change. @param {any[]} tokens */
function settledCount(tokens) {
  let count = 0;
  while (count < tokens.length
    && (tokens[count].type === 'space' ? count < tokens.length - 1 : settled(tokens, count))) count++;
  return count;
}

/** The first piece of a block that is too long to be parsed. @param {string} text */
function piece(text) {
  const line = text.lastIndexOf('\n', LIMIT - 1) + 1;
  // Never between the two halves of one sign.
  const half = /[\ud800-\udbff]/.test(text[LIMIT - 1]) ? 1 : 0;
  return plain(text.slice(0, line > LIMIT / 2 ? line : LIMIT - half));
}

export class MarkdownView {
  /** @param {HTMLElement} root emptied and owned by this view */
  constructor(root) {
    this.root = root;
    this.text = '';
    this.lines = '';
    this.frozen = 0;
    /** until when a slow text is not drawn again */
    this.later = 0;
    /** @type {HTMLElement | null} */
    this.tail = null;
    this.reset();
  }

  reset() {
    clearTimeout(this.later);
    this.later = 0;
    this.text = '';
    this.lines = '';
    this.frozen = 0;
    this.tail = null;
    this.root.replaceChildren();
  }

  /** Draw `text`, which continues what was drawn before. @param {string} text */
  show(text) {
    this.#take(text);
    this.later ||= this.#draws();
  }

  /** Draws at once; a timer when that took long, during which more text may come. */
  #draws() {
    const start = performance.now();
    this.#freeze();
    const open = this.lines.slice(this.frozen);
    if (open.trim()) this.#drawTail(open);
    const took = performance.now() - start;
    return took < SLOW_MS ? 0 : setTimeout(() => { this.later = this.#draws(); }, took * 4);
  }

  /** No more text comes: draw the tail as it is and colour it. */
  end() {
    clearTimeout(this.later);
    this.later = 0;
    if (this.lines.length <= LIMIT && DEFINITION.test(this.lines)) this.#redrawWithLinks();
    else this.#freeze();
    const rest = this.lines.slice(this.frozen);
    const code = rest.length > LIMIT ? longCode(`${rest}\n`) : null;
    this.#freezeTokens(code ? [{ ...code, raw: rest }] : blocks(rest));
    this.#dropTail();
  }

  /** Whole text at once: the same result as showing it piece by piece. @param {string} text */
  set(text) {
    this.reset();
    this.#take(text);
    this.end();
  }

  // Blocks are counted in the line ends that marked makes of all others.
  #take(/** @type {string} */ text) {
    this.text = text;
    this.lines = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
  }

  #freeze() {
    while (this.#freezeSome());
  }

  /** Whether there may be more to freeze. */
  #freezeSome() {
    const open = this.lines.slice(this.frozen);
    const tokens = blocks(open.slice(0, LIMIT));
    const count = settledCount(tokens);
    if (count) {
      this.#freezeTokens(tokens.slice(0, count));
      return open.length > LIMIT;
    }
    if (open.length <= LIMIT) return false;
    const code = longCode(open);
    if (code && !code.closed) return false;
    this.#freezeTokens([code ?? piece(open)]);
    return true;
  }

  /** @param {any[]} tokens */
  #freezeTokens(tokens) {
    for (const token of tokens) this.frozen += token.raw.length;
    const [first, ...others] = tokens.filter(token => token.type !== 'space' && token.type !== 'def');
    if (!first) return;
    this.#draw(first);
    highlightWithin(/** @type {HTMLElement} */ (this.tail));
    this.tail = null;
    if (!others.length) return;
    const holder = document.createElement('template');
    holder.innerHTML = renderBlocks(others);
    for (const block of holder.content.children) highlightWithin(block);
    this.root.append(holder.content);
  }

  /** @param {string} open */
  #drawTail(open) {
    const code = open.length > LIMIT ? longCode(open) : null;
    const tokens = code ? [code] : blocks(repair(open)).filter(token => token.type !== 'space' && token.type !== 'def');
    if (tokens.length === 1) this.#draw(tokens[0]);
    else if (tokens.length) this.#element().replaceChildren(...tokens.map(token => this.#fragment(token)));
  }

  /** @param {any} token */
  #draw(token) {
    const element = this.#element();
    if (token.type === 'code' && this.#growCode(element, token)) return;
    element.innerHTML = renderBlock(token);
  }

  // Code only grows, and so may the info string of its fence, which arrives in pieces as well.
  /**
   * @param {HTMLElement} element
   * @param {any} token
   */
  #growCode(element, token) {
    const figure = element.firstElementChild;
    const code = figure?.matches('figure.code') && element.childElementCount === 1 ? figure.querySelector('code') : null;
    const drawn = code?.textContent ?? '';
    if (!code || !token.text.startsWith(drawn)) return false;
    const name = fenceLanguage(token.lang);
    code.className = `language-${name}`;
    /** @type {Element} */ (figure?.querySelector('figcaption span')).textContent = name;
    if (token.text.length > drawn.length) code.append(token.text.slice(drawn.length));
    code.normalize();
    return true;
  }

  /** @param {any} token */
  #fragment(token) {
    const holder = document.createElement('div');
    holder.innerHTML = renderBlock(token);
    return holder;
  }

  #element() {
    if (!this.tail) {
      this.tail = document.createElement('div');
      this.tail.className = 'block';
      this.tail.dir = 'auto';
      this.root.append(this.tail);
    }
    return this.tail;
  }

  #dropTail() {
    this.tail?.remove();
    this.tail = null;
    this.frozen = this.lines.length;
  }

  // A reference link may be defined after its use, so the whole text is drawn once more.
  #redrawWithLinks() {
    this.root.replaceChildren();
    this.tail = null;
    this.frozen = 0;
  }
}
