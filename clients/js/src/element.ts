import { controlsIn, readFilters } from "./form-filters.js";
import { ElementView } from "./element-view.js";
import { get } from "./get.js";
import { type Rowlink, createRowlink } from "./index.js";
import { prepare } from "./prepare.js";
import { RowlinkError } from "./problem.js";
import { saveAs } from "./save.js";
import type {
  CallOptions, DoneDetail, ElementProgress, ElementStatus, ErrorDetail, FileState, Filter, Format, GridRequest, Link, LinkDetail,
  LinkRequest, Progress, Unsupported,
} from "./types.js";

export type {
  DoneDetail, ElementProgress, ElementStatus, ErrorDetail, GridRequest, LinkDetail, LinkRequest, Unsupported,
} from "./types.js";

type RequestLink = (request: LinkRequest, options: CallOptions) => Promise<Link>;
type Source = () => Partial<GridRequest>;

// A server that renders the page has no elements.
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

/** Properties that a page may have set before the element was defined. */
const PROPERTIES = ["columns", "endpoint", "export", "filters", "format", "formats", "options", "requestLink", "source"] as const;

/** `<rowlink-export>`: an Export button with a choice of formats, progress and errors. */
export class RowlinkExport extends Base {
  static readonly formAssociated = true;
  static readonly observedAttributes = ["formats", "label", "lang"];

  readonly #view: ElementView;
  readonly #internals: ElementInternals;
  readonly #onSubmit = (event: SubmitEvent) => this.#takeOver(event);
  #form: HTMLFormElement | null = null;
  #isDisabled = false;
  #requestLink: RequestLink | undefined;
  #source: Source | undefined;
  #filters: Record<string, Filter> | undefined;
  #options: Partial<LinkRequest> | undefined;
  #abort: AbortController | undefined;
  #status: ElementStatus = "idle";
  #progress: ElementProgress | null = null;
  #error: Error | null = null;
  #unsupported: readonly Unsupported[] = [];

  constructor() {
    super();
    this.#internals = this.attachInternals();
    this.#view = new ElementView(this);
    this.#view.button.addEventListener("click", () => this.start());
    this.#view.cancel.addEventListener("click", () => this.cancel());
  }

  connectedCallback() {
    for (const name of PROPERTIES) {
      if (!Object.hasOwn(this, name)) continue;
      const { [name]: value } = this;
      delete (this as Partial<this>)[name];
      Object.assign(this, { [name]: value });
    }
    this.attributeChangedCallback();
  }

  disconnectedCallback() {
    // An element that only moves is connected again by then.
    queueMicrotask(() => this.isConnected || this.cancel());
  }

  attributeChangedCallback() {
    this.#view.setFormats(this.formats);
    this.#show();
  }

  formAssociatedCallback(form: HTMLFormElement | null) {
    this.#form?.removeEventListener("submit", this.#onSubmit);
    this.#form = form;
    form?.addEventListener("submit", this.#onSubmit);
  }

  formDisabledCallback(isDisabled: boolean) {
    this.#isDisabled = isDisabled;
    this.#show();
  }

  /** Name of the export. */
  get export(): string {
    return this.getAttribute("export") ?? "";
  }
  set export(value: string) {
    this.setAttribute("export", value);
  }

  /** Formats to choose from; the first one is the default. A stored document has none. */
  get formats(): readonly Format[] {
    return words(this.getAttribute("formats")) as Format[];
  }
  set formats(value: readonly Format[] | string) {
    this.setAttribute("formats", [value].flat().join(","));
  }

  /** The chosen format. */
  get format(): Format | undefined {
    return (this.#view.format || undefined) as Format | undefined;
  }
  set format(value: Format | undefined) {
    this.#view.format = value ?? "";
  }

  /** Columns of the file. */
  get columns(): readonly string[] | undefined {
    return this.hasAttribute("columns") ? words(this.getAttribute("columns")) : undefined;
  }
  set columns(value: readonly string[] | string | undefined) {
    if (value === undefined) this.removeAttribute("columns");
    else this.setAttribute("columns", [value].flat().join(","));
  }

  /** URL of the application's own endpoint for links. */
  get endpoint(): string {
    return this.getAttribute("endpoint") ?? "";
  }
  set endpoint(value: string) {
    this.setAttribute("endpoint", value);
  }

  /** Requests the link. Without it the element sends a `POST` to its `endpoint`. */
  get requestLink(): RequestLink | undefined {
    return this.#requestLink;
  }
  set requestLink(value: RequestLink | undefined) {
    this.#requestLink = value;
  }

  /** Returns filters and columns at the time of the click, such as those of a grid. */
  get source(): Source | undefined {
    return this.#source;
  }
  set source(value: Source | undefined) {
    this.#source = value;
  }

  /** Filters of every file. Those of controls, and of `source`, take precedence. */
  get filters(): Record<string, Filter> {
    return this.#filters ?? this.#json("filters");
  }
  set filters(value: Record<string, Filter> | undefined) {
    this.#filters = value;
  }

  /** Further fields of the request, such as `csv`. */
  get options(): Partial<LinkRequest> {
    return this.#options ?? this.#json("options");
  }
  set options(value: Partial<LinkRequest> | undefined) {
    this.#options = value;
  }

  get status(): ElementStatus {
    return this.#status;
  }

  /** The form whose controls are filters: the one that the attribute `form` names, or around the element. */
  get form(): HTMLFormElement | null {
    return this.#internals.form;
  }

  override focus(options?: FocusOptions) {
    this.#view.button.focus(options);
  }

  /** Returns the request for a link as of now, and what it cannot express. */
  read(): { request: LinkRequest; unsupported: readonly Unsupported[] } {
    const { filters, unsupported = [], ...fields } = this.#source?.() ?? {};
    const { columns, format } = this;
    const request = {
      ...this.options,
      ...(columns && { columns }),
      ...fields,
      ...(format && { format }),
      export: this.export,
      filters: { ...this.filters, ...this.#controlFilters(), ...filters },
    };
    if (this.hasAttribute("prepare")) request.prepare = true;
    return { request, unsupported };
  }

  /** Exports, as a click does. Resolves when the file is saved, when the browser downloads it, or after a failure. */
  async start(): Promise<void> {
    if (this.#abort || this.#isDisabled || !this.#reportValidity()) return;
    const { signal } = (this.#abort = new AbortController());
    this.#error = this.#progress = null;
    this.#unsupported = [];
    this.#setStatus("issuing");
    try {
      await this.#run(signal);
    } catch (error) {
      // Also if the user closes the browser's dialog.
      const isAborted = signal.aborted || (error as Error).name === "AbortError";
      if (!isAborted) this.#fail(error as Error);
      else this.#setStatus("idle");
    } finally {
      this.#abort = undefined;
    }
  }

  /** Cancels what is going on. A download that the browser has begun goes on. */
  cancel() {
    this.#abort?.abort();
  }

  async #run(signal: AbortSignal) {
    const { request, unsupported } = this.read();
    this.#unsupported = unsupported;
    const rowlink = createRowlink({ requestLink: (...asked) => this.#newLink(...asked) });
    const saved = await this.#download(rowlink, request, signal);
    const status = saved ? "done" : "started";
    this.#progress = saved;
    this.#setStatus(status);
    this.#fire<DoneDetail>("rowlink-done", { status, progress: saved });
  }

  /** Downloads the file; returns its progress if the page has saved it. */
  async #download(rowlink: Rowlink, request: LinkRequest, signal: AbortSignal): Promise<Progress | null> {
    if (request.prepare) {
      const onProgress = (file: FileState) => this.#tell("preparing", progressOf(file));
      // The browser shows its dialog for the place of a file only shortly after a click.
      await rowlink.download(await prepare(rowlink, request, { signal, onProgress }), { signal });
      return null;
    }
    if (this.hasAttribute("save")) {
      return saveAs(rowlink, request, { signal, onProgress: (progress) => this.#tell("downloading", progress) });
    }
    await rowlink.download(request, { signal });
    return null;
  }

  /** Requests a link, which the page may refuse to use. */
  async #newLink(request: LinkRequest, options: CallOptions): Promise<Link> {
    options.signal?.throwIfAborted();
    const asked = this.#requestLink ? this.#requestLink(request, options) : this.#askEndpoint(request, options);
    const answer = await Promise.race([asked, aborted(options.signal)]);
    // An application may answer less than Rowlink.
    const defaults: Partial<Link> = { filename: request.export, content_type: "" };
    const link: Link = { ...defaults, ...checked(answer) };
    const unsupported = this.#unsupported;
    if (!this.#fire<LinkDetail>("rowlink-link", { link, request, unsupported }, { cancelable: true })) this.cancel();
    options.signal?.throwIfAborted();
    return link;
  }

  async #askEndpoint(request: LinkRequest, { signal }: CallOptions): Promise<Link> {
    if (!this.endpoint) {
      throw new RowlinkError({ code: "no-endpoint", detail: "endpoint: is missing; set the attribute, or the property requestLink" });
    }
    const headers = { "content-type": "application/json", accept: "application/json" };
    const body = JSON.stringify(request);
    const response = await get(this.endpoint, { method: "POST", credentials: "same-origin", headers, body, signal });
    return response.json().catch(() => undefined);
  }

  #controlFilters(): Record<string, Filter> {
    const slotted = controlsIn(this.#view.filters.assignedElements());
    const filters = readFilters(this.form, slotted);
    const names = words(this.getAttribute("controls"));
    const isFilter = ([name]: [string, Filter]) => !names.length || names.includes(name);
    return Object.fromEntries(Object.entries(filters).filter(isFilter));
  }

  /** Reports the first invalid control; returns whether there is none. */
  #reportValidity(): boolean {
    const slotted = controlsIn(this.#view.filters.assignedElements());
    return (this.form?.reportValidity() ?? true) && slotted.every((control) => control.reportValidity());
  }

  /** Exports instead of the button that a page without scripts has in this element, as after Enter in a field. */
  #takeOver(event: SubmitEvent) {
    if (!event.submitter || !this.contains(event.submitter)) return;
    event.preventDefault();
    this.start();
  }

  #json(name: string): Record<string, never> {
    const text = this.getAttribute(name);
    if (!text) return {};
    try {
      return JSON.parse(text);
    } catch {
      throw new RowlinkError({ code: "invalid-attribute", detail: `${name}: expected JSON; write the attribute as {"name": "value"}` });
    }
  }

  #tell(status: ElementStatus, progress: ElementProgress) {
    this.#progress = progress;
    this.#setStatus(status);
    this.#fire<ElementProgress>("rowlink-progress", progress);
  }

  #fail(error: Error) {
    this.#error = error;
    this.#setStatus("failed");
    const code = error instanceof RowlinkError ? error.code : "unknown";
    this.#fire<ErrorDetail>("rowlink-error", { code, error });
  }

  #setStatus(status: ElementStatus) {
    this.#status = status;
    this.setAttribute("status", status);
    this.#show();
  }

  #show() {
    this.#view.show({
      status: this.#status,
      progress: this.#progress,
      error: this.#error,
      differs: this.#unsupported.length > 0,
      isDisabled: this.#isDisabled,
    });
  }

  /** Returns whether no listener has cancelled the event. */
  #fire<T>(name: string, detail: T, options: EventInit = {}): boolean {
    return this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, ...options, detail }));
  }
}

/** Returns the words of a list that is separated by commas or spaces. */
function words(list: string | null): string[] {
  return list?.split(/[\s,]+/).filter(Boolean) ?? [];
}

function progressOf({ rows, bytes, estimated_rows, estimated_bytes }: FileState): ElementProgress {
  return { rows, bytes, expectedRows: estimated_rows, expectedBytes: estimated_bytes, retries: 0 };
}

/** Rejects when the signal is aborted: a function of the page may ignore it. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
}

/** Returns the link that an application has answered. A script in its place would run in the page. */
function checked(link: Link | undefined): Link {
  // `URL.parse` would need a browser of 2024.
  const { protocol } = Object.assign(document.createElement("a"), { href: link?.url ?? "" });
  if (typeof link?.url === "string" && ["http:", "https:"].includes(protocol)) return link;
  throw new RowlinkError({ code: "invalid-response", detail: "url: expected an HTTP URL in the response; return what `POST /v1/links` returns" });
}

declare global {
  interface HTMLElementTagNameMap {
    "rowlink-export": RowlinkExport;
  }
  interface HTMLElementEventMap {
    "rowlink-link": CustomEvent<LinkDetail>;
    "rowlink-progress": CustomEvent<ElementProgress>;
    "rowlink-done": CustomEvent<DoneDetail>;
    "rowlink-error": CustomEvent<ErrorDetail>;
  }
}

if (globalThis.customElements && !customElements.get("rowlink-export")) customElements.define("rowlink-export", RowlinkExport);
