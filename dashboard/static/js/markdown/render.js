// Markdown to safe HTML. Raw HTML of the model is shown as text; DOMPurify checks what is left.
import { DOMPurify, Lexer, Marked } from '../../vendor/md.js';
import { t } from '../i18n.js';

const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i;
const POLICY = {
  RETURN_TRUSTED_TYPE: true,
  ALLOWED_TAGS: [
    'a', 'blockquote', 'br', 'button', 'code', 'del', 'div', 'em', 'figcaption', 'figure', 'h3', 'h4', 'h5',
    'h6', 'hr', 'li', 'ol', 'p', 'pre', 'span', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul',
  ],
  ALLOWED_ATTR: ['class', 'href', 'title', 'target', 'rel', 'start', 'align', 'tabindex', 'type', 'dir'],
  // All but href hold no address, so the rule for addresses is not for them.
  ADD_URI_SAFE_ATTR: ['target', 'rel', 'start', 'align', 'tabindex', 'type', 'dir'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: SAFE_LINK,
};

/** @param {string} text */
const escape = text => text.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);

/** The language of a fence; only what can be part of a class name. @param {string | undefined} info */
export const fenceLanguage = info => (info ?? '').trim().split(/\s/)[0].replace(/[^\w+#.-]/g, '').toLowerCase();

/**
 * @param {string} href
 * @param {string} inner HTML
 */
function link(href, inner) {
  if (!SAFE_LINK.test(href)) return inner;
  const url = escape(href);
  return `<a href="${url}" title="${url}" target="_blank" rel="noopener noreferrer">${inner}</a>`;
}

// Below the h2 of the message. Models begin at any depth, and an outline must not skip one.
const HEADINGS = ['h3', 'h3', 'h3', 'h4', 'h5', 'h6'];

/** Longest block that is parsed; what is longer is shown as plain text. */
export const LIMIT = 50_000;
/** Quotes and lists within each other; deeper ones are text. */
const DEEPEST = 24;
/** How far apart the two ends of an emphasis may be. */
const REACH = 1000;

/** marked's own tokenizer; the library does not name it. @type {any} */
const Tokenizer = new Lexer({}).options.tokenizer.constructor;

// marked follows a model that writes ">>>>…" until the stack ends, and looks for the end of each "***a** "
// up to the end of the text. Both have a bound here, so that the work grows as the text does.
class BoundedTokenizer extends Tokenizer {
  depth = 0;

  /** @param {() => any} parse */
  #deeper(parse) {
    if (this.depth >= DEEPEST) return undefined;
    this.depth++;
    try {
      return parse();
    } finally {
      this.depth--;
    }
  }

  /** @param {string} text */
  blockquote(text) {
    return this.#deeper(() => super.blockquote(text));
  }

  /** @param {string} text */
  list(text) {
    return this.#deeper(() => super.list(text));
  }

  /**
   * @param {string} text
   * @param {string} masked
   * @param {string} before
   */
  emStrong(text, masked, before) {
    if (text.length <= REACH) return super.emStrong(text, masked, before);
    const place = masked.length - text.length;
    return super.emStrong(text.slice(0, REACH), masked.slice(place, place + REACH), before);
  }
}

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escape(text),
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    link({ href, tokens }) {
      return link(href, this.parser.parseInline(tokens));
    },
    // A remote picture would tell its server who reads what and when, so it stays a link.
    image: ({ href, text }) => link(href, escape(`🖼 ${text || href}`)),
    heading({ depth, tokens }) {
      const tag = HEADINGS[depth - 1];
      return `<${tag} class="h${depth}">${this.parser.parseInline(tokens)}</${tag}>\n`;
    },
    code({ text, lang }) {
      const name = fenceLanguage(lang);
      const copy = `<button type="button" class="copy" title="${escape(t('copy'))}">${escape(t('copy'))}</button>`;
      return `<figure class="code"><figcaption><span>${name}</span>${copy}</figcaption>`
        + `<pre tabindex="0"><code class="language-${name}">${escape(text)}</code></pre></figure>`;
    },
    table(token) {
      const cells = (/** @type {any[]} */ row, /** @type {string} */ tag) => row.map((cell, i) => {
        const align = token.align[i] ? ` align="${token.align[i]}"` : '';
        return `<${tag}${align}>${this.parser.parseInline(cell.tokens)}</${tag}>`;
      }).join('');
      const body = token.rows.map((/** @type {any[]} */ row) => `<tr>${cells(row, 'td')}</tr>`).join('');
      return `<div class="table" tabindex="0"><table><thead><tr>${cells(token.header, 'th')}</tr></thead>`
        + `<tbody>${body}</tbody></table></div>`;
    },
  },
});

/** Cleaned HTML that the page's policy lets into the document. @param {string} html */
export const clean = html => /** @type {any} */ (DOMPurify.sanitize(html, POLICY));

/** A block that is shown as it was written. @param {string} raw */
export const plain = raw => ({ type: 'plain', raw });

/** The blocks of a text. @param {string} text @returns {any[]} */
export function blocks(text) {
  try {
    return new Lexer({ ...marked.defaults, tokenizer: new BoundedTokenizer() }).lex(text);
  } catch {
    return text ? [plain(text)] : [];
  }
}

const OPENING = /^( {0,3})(`{3,}(?=[^`\n]*\n)|~{3,})([^\n]*)\n/;

/**
 * The code block that a text begins with, found without parsing it: code may be long.
 * @param {string} text
 */
export function longCode(text) {
  const opening = OPENING.exec(text);
  if (!opening) return null;
  const [head, , fence, lang] = opening;
  const closing = new RegExp(`\\n {0,3}${fence}[\`~]* *(?=\\n)`, 'g');
  closing.lastIndex = head.length - 1;
  const end = closing.exec(text);
  const code = text.slice(head.length, Math.max(head.length, end ? end.index : text.length));
  return {
    type: 'code', raw: end ? text.slice(0, closing.lastIndex) : text, lang: lang.trim(),
    text: end ? code : code.replace(/\n$/, ''), closed: Boolean(end),
  };
}

/** @param {any} token */
function draw(token) {
  if (token.type !== 'plain') {
    try {
      return marked.Parser.parse([token], marked.defaults);
    } catch {
      // Text that cannot be drawn is still text.
    }
  }
  return `<p class="plain">${escape(token.raw)}</p>`;
}

/** One block as HTML. @param {any} token */
export const renderBlock = token => clean(draw(token));

/** Blocks in elements of their own, as HTML that was cleaned once. @param {any[]} tokens */
export const renderBlocks = tokens => clean(tokens.map(token => `<div class="block" dir="auto">${draw(token)}</div>`).join(''));
