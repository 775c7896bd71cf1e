// Markdown that grows. Finished blocks are drawn once and frozen; only the open tail is parsed anew.
import { blocks, fenceLanguage, renderBlock } from './render.js';
import { highlightWithin } from './highlight.js';

const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/m;
const FENCE = /^\s*(?:```|~~~)/m;
// What cannot be the beginning of one more item, row or line of the block before.
const FRESH_START = /^[^\s\d*+>|<~-]/;

/**
 * Closes what is open at the end, so that half a **bold or [link does not flicker. Only for show.
 * @param {string} text
 */
function repair(text) {
  if (FENCE.test(text)) return text;
  let shown = text.replace(/!?\[[^\]\n]*(?:\]\([^)\n]*)?$/, '');
  if (((shown.match(/`/g) ?? []).length) % 2) shown += '`';
  else if (((shown.match(/\*\*/g) ?? []).length) % 2) shown = `${shown.replace(/\s*\*{0,2}$/, '')}**`;
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

export class MarkdownView {
  /** @param {HTMLElement} root emptied and owned by this view */
  constructor(root) {
    this.root = root;
    this.text = '';
    this.frozen = 0;
    /** @type {HTMLElement | null} */
    this.tail = null;
    this.reset();
  }

  reset() {
    this.text = '';
    this.frozen = 0;
    this.tail = null;
    this.root.replaceChildren();
  }

  /** Draw `text`, which continues what was drawn before. @param {string} text */
  show(text) {
    this.text = text;
    this.#freeze();
    const open = text.slice(this.frozen);
    if (open.trim()) this.#drawTail(open);
  }

  /** No more text comes: draw the tail as it is and colour it. */
  end() {
    if (DEFINITION.test(this.text)) {
      this.#redrawWithLinks();
    } else {
      for (const token of blocks(this.text.slice(this.frozen))) this.#freezeToken(token);
    }
    this.#dropTail();
  }

  /** Whole text at once: the same result as showing it piece by piece. @param {string} text */
  set(text) {
    this.reset();
    this.text = text;
    this.end();
  }

  #freeze() {
    const tokens = blocks(this.text.slice(this.frozen));
    for (let i = 0; i < tokens.length; i++) {
      if (tokens[i].type !== 'space' && !settled(tokens, i)) return;
      if (tokens[i].type === 'space' && i === tokens.length - 1) return;
      this.#freezeToken(tokens[i]);
    }
  }

  /** @param {any} token */
  #freezeToken(token) {
    this.frozen += token.raw.length;
    if (token.type === 'space' || token.type === 'def') return;
    this.#draw(token);
    highlightWithin(/** @type {HTMLElement} */ (this.tail));
    this.tail = null;
  }

  /** @param {string} open */
  #drawTail(open) {
    const tokens = blocks(repair(open)).filter(token => token.type !== 'space' && token.type !== 'def');
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
      this.root.append(this.tail);
    }
    return this.tail;
  }

  #dropTail() {
    this.tail?.remove();
    this.tail = null;
    this.frozen = this.text.length;
  }

  // A reference link may be defined after its use, so the whole text is drawn once more.
  #redrawWithLinks() {
    this.root.replaceChildren();
    this.tail = null;
    for (const token of blocks(this.text)) this.#freezeToken(token);
  }
}
