import { buttonTexts } from "./button-texts.js";

/** Returns the language of the page, or those of the browser if the page names none. */
export function pageLanguages(): string | readonly string[] {
  return document.documentElement.lang || navigator.languages;
}

/** Returns the language of the texts for the first of these languages that has texts, else `en`. */
export function knownLanguage(languages: string | readonly string[]): string {
  for (const language of [languages].flat()) {
    // Lookup by RFC 4647, section 3.4: `de-AT` finds `de`.
    for (let range = language; range; range = range.slice(0, Math.max(0, range.lastIndexOf("-")))) {
      const known = Object.keys(buttonTexts).find((tag) => tag.toLowerCase() === range.toLowerCase());
      if (known) return known;
    }
  }
  return "en";
}
