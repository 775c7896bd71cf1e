/** What we use of Lit; the bundle itself carries no types. */
export declare const nothing: symbol;
export declare function html(strings: TemplateStringsArray, ...values: unknown[]): unknown;
export declare function repeat<T>(items: Iterable<T>, key: (item: T) => unknown, template: (item: T) => unknown): unknown;
export declare class LitElement extends HTMLElement {
  readonly updateComplete: Promise<boolean>;
  connectedCallback(): void;
  disconnectedCallback(): void;
  requestUpdate(): void;
  protected createRenderRoot(): Element | ShadowRoot;
  protected shouldUpdate(changed: Map<string, unknown>): boolean;
  protected firstUpdated(changed: Map<string, unknown>): void;
  protected updated(changed: Map<string, unknown>): void;
  protected render(): unknown;
}
