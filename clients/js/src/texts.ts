import { buttonTexts } from "./button-texts.js";
import { knownLanguage, pageLanguages } from "./languages.js";
import type { ElementStatus } from "./types.js";

/**
 * Returns the text of an Export button with this status, in the first of these languages (BCP 47) that has texts, else in
 * English. Default: the language of the page, or those of the browser if the page names none.
 */
export function buttonText(status: ElementStatus, languages: string | readonly string[] = pageLanguages()): string {
  return buttonTexts[knownLanguage(languages)]![status];
}
