import { buttonTexts } from "./button-texts.js";
import type { ExportStatus } from "./types.js";

/**
 * Returns the text of an Export button with this status, in the first of these languages (BCP 47) that has texts, else in
 * English. Default: the language of the page, or those of the browser if the page names none.
 */
export function buttonText(
  status: ExportStatus,
  languages: string | readonly string[] = document.documentElement.lang || navigator.languages,
): string {
  for (const language of [languages].flat()) {
    // Lookup by RFC 4647, section 3.4: `de-AT` finds `de`.
    for (let range = language; range; range = range.slice(0, Math.max(0, range.lastIndexOf("-")))) {
      const texts = find(range);
      if (texts) return texts[status];
    }
  }
  return buttonTexts.en![status];
}

function find(range: string) {
  const known = Object.keys(buttonTexts).find((language) => language.toLowerCase() === range.toLowerCase());
  return known && buttonTexts[known];
}
