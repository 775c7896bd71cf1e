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
  ALLOWED_ATTR: ['class', 'href', 'title', 'target', 'rel', 'start', 'align', 'tabindex', 'type'],
  // All but href hold no address, so the rule for addresses is not for them.
  ADD_URI_SAFE_ATTR: ['target', 'rel', 'start', 'align', 'tabindex', 'type'],
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

/** The blocks of a text. @param {string} text @returns {any[]} */
export const blocks = text => new Lexer(marked.defaults).lex(text);

/** One block as HTML. @param {any} token */
export const renderBlock = token => clean(marked.Parser.parse([token], marked.defaults));
