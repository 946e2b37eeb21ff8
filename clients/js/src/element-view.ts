import { buttonTexts } from "./button-texts.js";
import { elementTexts } from "./element-texts.js";
import { knownLanguage, pageLanguages } from "./languages.js";
import type { ElementProgress, ElementStatus } from "./types.js";

// A style sheet of the shadow root, unlike a `style` element, needs no permission of a Content-Security-Policy.
const STYLE = `
:host { display: inline-block; font: inherit; }
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
.controls { display: flex; flex-wrap: wrap; gap: var(--rowlink-gap, .5rem); align-items: end; }
button, select { font: inherit; min-height: 2.75rem; padding: .5rem 1rem; color: inherit; cursor: pointer;
  background: var(--rowlink-surface, light-dark(#fff, #1d2025)); border: 1px solid var(--rowlink-edge, light-dark(#868e99, #79818c));
  border-radius: var(--rowlink-radius, .5rem); }
button { display: inline-flex; gap: .5rem; align-items: center; font-weight: 600; }
.button { color: var(--rowlink-on-accent, light-dark(#fff, #0a1a2c));
  background: var(--rowlink-accent, light-dark(#0b5fbf, #84bbff)); border-color: transparent; }
.button:hover { filter: brightness(1.1); }
:focus-visible { outline: 3px solid var(--rowlink-accent, light-dark(#0b5fbf, #84bbff)); outline-offset: 2px; }
[aria-disabled=true], :disabled { opacity: .6; cursor: default; }
progress { display: block; width: 100%; margin-top: .5rem; accent-color: var(--rowlink-accent, light-dark(#0b5fbf, #84bbff)); }
p { margin: .25rem 0 0; font-size: .875em; }
.differs, .error { display: block; }
.error { color: var(--rowlink-error, light-dark(#a3201d, #ffa8a0)); overflow-wrap: anywhere; }
@media (prefers-reduced-motion: no-preference) { button { transition: filter .15s; } }
@media (prefers-reduced-motion: reduce) { progress:indeterminate { display: none; } }
`;

/** Returns the content of the shadow root. Markup as a text would break Trusted Types. */
function content(): Element[] {
  const create = (tag: string, attributes: Record<string, string>, ...children: Element[]) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const part = (tag: string, name: string, attributes = {}, ...children: Element[]) =>
    create(tag, { class: name, part: name, ...attributes }, ...children);
  const slot = (name: string) => create("slot", { name });
  const hidden = { hidden: "" };
  return [
    part("div", "controls", {},
      slot("filters"),
      part("select", "format", hidden),
      part("button", "button", { type: "button" }, slot("icon"), slot("label")),
      part("button", "cancel", { type: "button", ...hidden }),
    ),
    part("progress", "progress", { "aria-labelledby": "status", ...hidden }),
    part("p", "amount"),
    create("p", { role: "status" },
      part("span", "status", { id: "status" }),
      part("span", "differs"),
      part("span", "error", { lang: "en" }),
    ),
  ];
}

/** What a view shows. */
export interface Shown {
  status: ElementStatus;
  progress: ElementProgress | null;
  error: Error | null;
  /** Whether the file differs from the table that the user sees. */
  differs: boolean;
  isDisabled: boolean;
}

/** The shadow DOM of `<rowlink-export>`. */
export class ElementView {
  readonly button: HTMLButtonElement;
  readonly cancel: HTMLButtonElement;
  readonly filters: HTMLSlotElement;
  readonly #formats: HTMLSelectElement;
  readonly #root: ShadowRoot;
  #wantedFormat = "";

  constructor(private readonly host: HTMLElement) {
    this.#root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(...content());
    this.button = this.#find(".button");
    this.cancel = this.#find(".cancel");
    this.#formats = this.#find("select");
    this.filters = this.#find("slot[name=filters]");
  }

  #find<T extends Element>(selector: string): T {
    return this.#root.querySelector<T>(selector)!;
  }

  #setText(selector: string, text: string) {
    const element = this.#find(selector);
    // A screen reader reads a live region again that is written again.
    if (element.textContent !== text) element.textContent = text;
  }

  get #language(): string {
    const { lang } = this.host.closest<HTMLElement>("[lang]") ?? {};
    return knownLanguage(lang || pageLanguages());
  }

  get format(): string {
    return this.#formats.value;
  }
  set format(value: string) {
    this.#wantedFormat = this.#formats.value = value;
  }

  /** Offers a choice of these formats, if there are several, and keeps the chosen one, or the one that was set before. */
  setFormats(formats: readonly string[]) {
    const chosen = this.#formats.value || this.#wantedFormat;
    const names = elementTexts[this.#language]!.fileTypes;
    const options = formats.map((format) => new Option(names[format] ?? format.toUpperCase(), format));
    this.#formats.replaceChildren(...options);
    if (formats.includes(chosen)) this.#formats.value = chosen;
    this.#formats.hidden = formats.length < 2;
  }

  show({ status, progress, error, differs, isDisabled }: Shown) {
    const language = this.#language;
    const texts = buttonTexts[language]!;
    const beside = elementTexts[language]!.button;
    const isBusy = ["issuing", "preparing", "downloading"].includes(status);
    this.#setText("slot[name=label]", this.host.getAttribute("label") || texts.idle);
    this.#formats.ariaLabel = beside.format;
    this.#formats.disabled = isDisabled;
    this.button.disabled = isDisabled;
    // A button that is disabled while it works would lose the focus.
    this.button.ariaDisabled = String(isBusy || isDisabled);
    this.#setText(".cancel", beside.cancel);
    if (!isBusy && this.#root.activeElement === this.cancel) this.button.focus();
    this.cancel.hidden = !isBusy;
    this.#setText(".status", status === "idle" ? "" : texts[status]);
    const hasFile = isBusy || status === "started" || status === "done";
    this.#setText(".differs", differs && hasFile ? beside.differs : "");
    this.#setText(".error", error ? messageOf(error) : "");
    this.#showProgress(isBusy ? progress : null, status !== "issuing" && isBusy, language);
  }

  #showProgress(progress: ElementProgress | null, isShown: boolean, language: string) {
    const bar = this.#find<HTMLProgressElement>("progress");
    const share = progress && shareOf(progress);
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    bar.hidden = !isShown;
    this.#setText(".amount", progress ? amountOf(progress, language) : "");
  }
}

/** Returns which share of the file is done, from 0 to 1; `null` if that is unknown. An estimate may be too small. */
function shareOf({ bytes, rows, expectedBytes, expectedRows }: ElementProgress): number | null {
  if (expectedBytes && bytes !== null) return Math.min(bytes / expectedBytes, 1);
  return expectedRows && rows !== null ? Math.min(rows / expectedRows, 1) : null;
}

/** Returns the rows so far, else the bytes, as a text. */
function amountOf({ rows, bytes }: ElementProgress, language: string): string {
  if (rows !== null) {
    const { one, other } = elementTexts[language]!.rows;
    return (rows === 1 ? one : other).replace("{count}", new Intl.NumberFormat(language).format(rows));
  }
  const megabytes = { style: "unit", unit: "megabyte", maximumFractionDigits: 1 } as const;
  return bytes === null ? "" : new Intl.NumberFormat(language, megabytes).format(bytes / 1e6);
}

/** Returns the invalid values that an error names, else its message. Both are English. */
function messageOf(error: Error & { errors?: { field: string; message: string }[] }): string {
  const fields = error.errors?.map(({ field, message }) => `${field}: ${message}`);
  return fields?.length ? fields.join("; ") : error.message;
}
