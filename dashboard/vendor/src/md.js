export { Marked, Lexer } from 'marked';
export { default as DOMPurify } from 'dompurify';
