// Colours in finished code blocks: fetched with the first block, applied when a block comes near.
import { clean } from './render.js';

/** @type {Promise<any> | undefined} */
let library;
const TOO_LONG = 60_000;

/** @param {Element} code */
async function colour(code) {
  const name = /language-(\S+)/.exec(code.className)?.[1];
  const text = code.textContent ?? '';
  if (!name || text.length > TOO_LONG) return;
  library ??= import('../../vendor/hl.js');
  const { default: hljs } = await library;
  if (hljs.getLanguage(name) && code.textContent === text) {
    code.innerHTML = clean(hljs.highlight(text, { language: name, ignoreIllegals: true }).value);
  }
}

const near = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    void colour(target);
  }
}, { rootMargin: '600px' });

/** @param {Element} block */
export function highlightWithin(block) {
  for (const code of block.querySelectorAll('pre code')) near.observe(code);
}
