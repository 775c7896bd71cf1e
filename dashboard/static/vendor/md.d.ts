/** What we use of marked and DOMPurify. */
export declare const DOMPurify: { sanitize(html: string, policy: object): unknown };
export declare class Marked {
  constructor(options: { gfm: boolean; renderer: Record<string, (this: { parser: any }, token: any) => string> });
  readonly defaults: object;
  readonly Parser: { parse(tokens: unknown[], options: object): string };
}
export declare class Lexer {
  constructor(options: object);
  readonly options: { tokenizer: object };
  lex(text: string): any[];
}
